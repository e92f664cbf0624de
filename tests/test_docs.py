"""The documents name what is there."""

from dataclasses import fields
from pathlib import Path

import pytest

from hf_alphavil.methods import METHODS
from hf_alphavil.tasks.definition import read_definitions
from hf_alphavil.tasks.definition_checks import DEFINITION, PARTS
from hf_alphavil.tasks.metrics import METRICS
from hf_alphavil.tasks.task_table import task_table

DOCS = Path(__file__).parents[1] / "docs"
METHODS_PAGE = (DOCS / "methods.md").read_text(encoding="utf-8")
TASKS_PAGE = (DOCS / "tasks.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", METHODS)
def test_every_method_and_option_is_documented(name):
    rows = [line for line in METHODS_PAGE.splitlines() if line.startswith(f"| `{name}` |")]
    assert rows
    for option in fields(METHODS[name].Options):
        assert any(f"`{option.name}` (" in row for row in rows), option.name


def test_the_table_of_tasks_is_the_definitions():
    assert task_table() in TASKS_PAGE


def test_every_key_and_metric_of_a_task_is_documented():
    for key in [*DEFINITION, *(f"{part}.{key}" for part in ("files", "submission") for key in PARTS[part])]:
        assert f"`{key}`" in TASKS_PAGE or f"`{key.rpartition('.')[2]}`" in TASKS_PAGE, key
    for metric in METRICS:
        assert f"`{metric}`" in TASKS_PAGE, metric


def test_the_example_of_own_tasks_is_valid(tmp_path):
    example = TASKS_PAGE.split("```yaml")[1].split("```")[0]
    (tmp_path / "tasks.yaml").write_text(example, encoding="utf-8")
    assert set(read_definitions(tmp_path / "tasks.yaml")) == {"tickets", "quiz", "names", "prose"}
