"""alphavil_history.json: reading returns what was written."""

import json
import math

import pytest

from hf_alphavil.reporting import HISTORY_FILE, read_history, write_history
from hf_alphavil.reporting.history import tasks_of
from support.example_run import HISTORY


def test_history_is_read_from_its_file_or_folder(tmp_path):
    path = write_history(HISTORY, tmp_path / "new" / "folder")
    assert path.name == HISTORY_FILE
    assert read_history(path) == HISTORY
    assert read_history(path.parent) == HISTORY


def test_writing_again_replaces_the_file_and_leaves_nothing_else(tmp_path):
    write_history(HISTORY, tmp_path)
    write_history(HISTORY[:1], tmp_path)
    assert read_history(tmp_path) == HISTORY[:1]
    assert [path.name for path in tmp_path.iterdir()] == [HISTORY_FILE]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    write_history(HISTORY, tmp_path)

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_history([], tmp_path)
    assert read_history(tmp_path) == HISTORY
    assert [path.name for path in tmp_path.iterdir()] == [HISTORY_FILE]


def test_the_file_is_indented_strict_json(tmp_path):
    diverged = {**HISTORY[0], "meta_loss": [0.5, math.inf, math.nan]}
    text = write_history([diverged], tmp_path).read_text(encoding="utf-8")

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    assert json.loads(text, parse_constant=refuse)[0]["meta_loss"] == [0.5, None, None]
    assert '\n    "alpha": {\n' in text
    read = read_history(tmp_path)[0]["meta_loss"]
    assert read[0] == 0.5
    assert all(math.isnan(value) for value in read[1:])


@pytest.mark.parametrize("text", ["{", "{}", "[1]", '[{"alpha": {}}]'])
def test_another_file_is_refused_by_name(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"other\.json"):
        read_history(path)


def test_the_target_is_the_first_task():
    assert tasks_of(HISTORY, "mrpc") == ["mrpc", "rte"]
    assert tasks_of([], "mrpc") == ["mrpc"]
