"""Verdicts follow the interval of the total contribution."""

import numpy as np
import pytest
from scipy import stats

from hf_alphavil.methods.contributions import Contributions
from hf_alphavil.reporting import format_summary_table, read_history, verdicts, write_history
from hf_alphavil.reporting.verdicts import HELPED, HURT, NO_EFFECT, TOO_FEW_ROWS
from support.example_run import HISTORY

DRAW = np.random.default_rng(3)
ROWS = {
    "helper": DRAW.normal(0.3, 0.5, 60),
    "harmful": DRAW.normal(-0.3, 0.5, 60),
    "idle": DRAW.normal(0.0, 0.05, 60),
    "noisy": DRAW.normal(0.0, 2.0, 60),
    "unknown": np.array([0.4]),
}


def history(loss=0.8):
    return [{**HISTORY[0], **Contributions().add(ROWS, loss)}]


@pytest.mark.parametrize("stored", [False, True])
def test_verdicts_are_those_of_the_t_test(tmp_path, stored):
    entries = history()
    if stored:
        write_history(entries, tmp_path)
        entries = read_history(tmp_path)
    found = verdicts(entries)
    words = {task: verdict.words for task, verdict in found.items()}
    assert words == {
        "helper": HELPED,
        "harmful": HURT,
        "idle": NO_EFFECT,
        "noisy": TOO_FEW_ROWS,
        "unknown": TOO_FEW_ROWS,
    }
    for task, verdict in found.items():
        if task != "unknown":
            is_clear = stats.ttest_1samp(ROWS[task], 0).pvalue < 0.05
            assert is_clear == (verdict.words in (HELPED, HURT))
            interval = stats.ttest_1samp(ROWS[task], 0).confidence_interval(0.95)
            assert verdict.contribution + verdict.half_width == pytest.approx(interval.high)
    assert found["unknown"].interval == "+0.400"


def of_epochs(*means, error=0.1):
    """A history of epochs with given contributions; rows are as many and as wide in each."""
    draw = (DRAW.permutation(60) - 29.5) / 17.3  # mean 0, spread 1
    contributions = Contributions()
    return [
        {"epoch": number, **contributions.add({"task": mean + draw * error * 60**0.5}, 1.0)}
        for number, mean in enumerate(means, start=1)
    ]


@pytest.mark.parametrize(
    ("means", "words"),
    [
        ((0.9,), HELPED),
        ((0.9, 0.8, 1.0), HELPED),
        ((-0.9, -0.8, -1.0), HURT),
        ((3.0, 0.0, -0.1), NO_EFFECT),  # one epoch alone
        ((2.0, -0.8, 1.0), NO_EFFECT),
        ((0.9, 0.1), NO_EFFECT),
        ((9.0, -0.5, -0.6, -0.5), NO_EFFECT),
        ((1.2, 0.2, 0.9, 0.2), HELPED),  # t = 2.47; the 95th percentile of three degrees of freedom is 2.35
        ((1.2, 0.1, 0.9, 0.1), NO_EFFECT),  # t = 2.05
    ],
)
def test_epochs_must_agree(means, words):
    entries = of_epochs(*means)
    assert verdicts(entries)["task"].words == words
    total = entries[-1]["total_contribution"]["task"]
    assert abs(total["mean"]) > 2.1 * total["standard_error"]  # the rows alone would say so
    if len(means) > 1:
        scores = [
            entry["contribution"]["task"]["mean"] / entry["contribution"]["task"]["standard_error"]
            for entry in entries
        ]
        alternative = "greater" if total["mean"] > 0 else "less"
        assert (stats.ttest_1samp(scores, 0, alternative=alternative).pvalue < 0.05) == (words != NO_EFFECT)


def test_epochs_after_the_kept_one_do_not_count():
    entries = of_epochs(0.9, 0.8, -3.0)
    for entry in entries:
        entry["kept"] = entry["epoch"] == 2
    assert verdicts(entries)["task"].words == HELPED


def test_what_is_small_depends_on_the_loss():
    assert verdicts(history(loss=0.01))["idle"].words == TOO_FEW_ROWS


def test_the_kept_epoch_decides():
    entries = [history()[0] | {"kept": True}, HISTORY[1] | {"kept": False}]
    assert verdicts(entries)["helper"].words == HELPED
    entries = [history()[0] | {"kept": False}, HISTORY[1] | {"kept": True}]
    assert verdicts(entries) == {}
    assert verdicts([]) == {}


def test_the_summary_leads_with_the_verdict():
    totals = Contributions().add({"rte": np.full(40, 0.25), "mrpc": ROWS["harmful"]}, 0.8)
    lines = format_summary_table("rte", "accuracy", 0.5, [{**HISTORY[0], **totals}], "alphavil").splitlines()
    assert lines[2].split() == ["task", "verdict", "loss", "saved", "alpha", "weight"]
    assert lines[4].split() == ["rte", "(target)", "helped", "+0.250", "+/-", "0.000", "1.500", "1.500"]
    assert lines[5].split()[:2] == ["mrpc", "hurt"]
    assert all(line.isascii() for line in lines)
