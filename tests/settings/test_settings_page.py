"""docs/settings.md lists every setting under its group's heading, with its default and its choices."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from hf_alphavil.settings import (
    AlphaArguments,
    HubArguments,
    MethodArguments,
    PhaseArguments,
    SamplingArguments,
    TaskArguments,
    WeightArguments,
)

PAGE = (Path(__file__).parents[2] / "docs" / "settings.md").read_text(encoding="utf-8")
GROUPS = {
    "Tasks": TaskArguments,
    "Method": MethodArguments,
    "α": AlphaArguments,
    "Task weights": WeightArguments,
    "Phases": PhaseArguments,
    "Sampling of tasks and rows": SamplingArguments,
    "Hugging Face Hub": HubArguments,
}


def section(heading):
    return re.split(r"(?m)^## ", PAGE.split(f"\n## {heading}\n")[1])[0]


def printed(default):
    if default in (None, ""):
        return "none"
    return f"`{default}`" if isinstance(default, str) else str(default).lower()


@pytest.mark.parametrize("heading", GROUPS)
def test_a_group_s_table_is_its_fields(heading):
    rows = re.findall(r"(?m)^\| `(\w+)` \| (.*?) \| (.*)$", section(heading))
    group = fields(GROUPS[heading])
    assert [name for name, _, _ in rows] == [entry.name for entry in group]
    for entry, (_, default, meaning) in zip(group, rows, strict=True):
        assert default.partition(" (")[0] == printed(entry.default), entry.name
        assert all(f"`{choice}`" in default + meaning for choice in entry.metadata.get("choices", ())), entry.name
