"""`alphavil compare`: the command that its report names, and the version of an installed package."""

import sys

import pytest
import yaml

from hf_alphavil.comparing import command, versions
from support.forking import ROOT

CONFIG = {"suite": "demo", "tasks": ["target", "noise"], "seeds": [0], "methods": ["multitask"]}


@pytest.mark.parametrize(
    ("prog", "words"), [("alphavil compare", "alphavil compare"), (None, "python benchmarks/compare_methods.py")]
)
def test_the_report_names_the_command(prog, words, tmp_path, monkeypatch):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["benchmarks/compare_methods.py", "mine.yaml", "--output", "my out"])
    monkeypatch.setattr(command.signal, "signal", lambda number, handler: None)
    named = []
    monkeypatch.setattr(command, "compare", lambda folder, text, *options: named.append(text) or 0)
    assert command.main(None if prog is None else sys.argv[1:], prog) == 0
    assert named == [f"{words} mine.yaml --output 'my out'"]


def test_only_a_clone_has_a_commit(monkeypatch):
    """The package may be installed into a folder of someone else's repository."""
    assert (versions.versions()["commit"] is None) == (not (ROOT / ".git").exists())
    monkeypatch.setattr(versions, "ROOT", ROOT / "tests")
    assert versions.versions()["commit"] is None
