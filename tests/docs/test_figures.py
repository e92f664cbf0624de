"""The counts of verdicts on the page about reading results are those of the recorded runs."""

import json

import pytest

from hf_alphavil.reporting.verdicts import HELPED, verdicts
from support.pages import ROOT

PAGE = (ROOT / "docs" / "reading.md").read_text(encoding="utf-8")
ROWS = {
    "200, frozen, all plans on the development problems": ("testbed/plans", None),
    "200, fine-tuned, all plans on the development problems": ("low_resource/development", None),
    "150 to 1,000, frozen, the default on the report problems": ("testbed/report", "alphavil"),
    'the same, with `alphavil_preset="paper"`': ("testbed/report", "alphavil-paper"),
    "300, fine-tuned, the default on the report problems": ("low_resource/report", "alphavil"),
}


@pytest.mark.parametrize("words", ROWS)
def test_verdicts_are_counted_right(words):
    file, name = ROWS[words]
    called = {"shuffled": [], "more": []}
    for line in (ROOT / "benchmarks" / "results" / f"{file}.jsonl").read_text(encoding="utf-8").splitlines():
        run = json.loads(line)
        if name in (None, run["name"]):
            for task, verdict in verdicts(run["history"]).items():
                if (kind := "shuffled" if task.startswith("shuffled") else task) in called:
                    called[kind].append(verdict.words == HELPED)
    counts = " | ".join(f"{sum(found)} of {len(found)}" for found in called.values())
    assert f"| {words} | {counts} |" in PAGE
