"""`alphavil`: its subcommands, its version, and what each imports."""

import inspect
import subprocess
import sys
from importlib import import_module

import pytest

import hf_alphavil
from hf_alphavil.cli.main import COMMANDS, main
from support.forking import ROOT

#: Prints what the command prints, and which of the large libraries it imported.
REPORT = """
import sys
from hf_alphavil.cli.main import main
status = main(sys.argv[1:])
print(status, sorted({"torch", "transformers", "datasets", "numpy"} & set(sys.modules)))
"""


def python(*words):
    """Runs Python in a new process and returns its output."""
    finished = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return finished.stdout


@pytest.mark.parametrize(("words", "status"), [(["--help"], 0), ([], 0), (["--version"], 0), (["trian"], 2)])
def test_what_runs_nothing_imports_no_library(words, status):
    assert python("-c", REPORT, *words).splitlines()[-1] == f"{status} []"


def test_help_names_every_command(capsys):
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, (_, what) in COMMANDS.items():
        assert f"  {name:<9} {what}" in lines


@pytest.mark.parametrize("module", ["hf_alphavil", "hf_alphavil.cli"])
def test_python_runs_the_package(module):
    assert python("-m", module, "--version") == f"alphavil {hf_alphavil.__version__}\n"


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("trian", "did you mean train?"),
        ("Tasks", "did you mean tasks?"),
        ("xyzzy", f"pass one of {', '.join(COMMANDS)}"),
        ("--target", f"pass one of {', '.join(COMMANDS)}"),
    ],
)
def test_an_unknown_command_is_one_line(word, hint, capsys):
    assert main([word, "--target", "rte"]) == 2
    assert capsys.readouterr() == ("", f"error: unknown command {word!r}: {hint}\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name, capsys):
    assert list(inspect.signature(import_module(COMMANDS[name][0]).main).parameters)[:2] == ["arguments", "prog"]
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: alphavil {name} ")


def test_train_takes_the_flags_of_the_script(capsys):
    with pytest.raises(SystemExit) as end:
        main(["train", "--target", "rtx", "--use_cpu"])
    assert end.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: unknown task 'rtx'; known are ")


def test_tasks_returns_the_status_of_its_command(capsys):
    assert main(["tasks", "check", "rtx"]) == 2
    assert capsys.readouterr().err.startswith("error: unknown task 'rtx'")


def test_names_of_the_package_are_imported_when_used():
    """`from hf_alphavil import *` gives every name, and a mistyped one is an `AttributeError`."""
    given = {}
    exec("from hf_alphavil import *", given)
    for name in hf_alphavil.__all__:
        assert given[name].__module__.startswith("hf_alphavil.")
        assert name in dir(hf_alphavil)
    assert "torch" not in python("-c", "import sys, hf_alphavil; dir(hf_alphavil); print(*sys.modules)").split()
    with pytest.raises(AttributeError, match="module 'hf_alphavil' has no attribute 'MultitaskTrainr'"):
        hf_alphavil.MultitaskTrainr  # noqa: B018
