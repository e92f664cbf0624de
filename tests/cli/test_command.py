"""`alphavil`: its subcommands and its version."""

import inspect
from importlib import import_module

import pytest

import hf_alphavil
from hf_alphavil.cli.main import COMMANDS, main
from support.driving import run_module
from support.forking import fork


@pytest.mark.parametrize("words", [["--help"], ["-h"]])
def test_help_names_every_command(words, capsys):
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, (_, what) in COMMANDS.items():
        assert f"  {name:<9} {what}" in lines


@pytest.mark.parametrize("module", ["hf_alphavil", "hf_alphavil.cli"])
def test_python_runs_the_package(module):
    assert fork(run_module, module, ["--version"]).stdout == f"alphavil {hf_alphavil.__version__}\n"


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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("report out --export_mixture tlr", "invalid choice: 'tlr' (did you mean trl? It is one of trl, axolotl, "),
        ("report out --export_mixture", "argument --export_mixture/--export-mixture: expected one argument"),
        ("report out --export_mixture trl --no_examples", "--export_mixture writes no page: leave --no_examples out"),
        ("report", "the following arguments are required: folder"),
        ("report out more", "unexpected 'more': write a flag's name before its value"),
        ("rank", "which task should the candidates help? Pass --target, for example --target rte"),
        ("demo --sed 3", "unknown flag --sed: did you mean --seed?"),
        ("demo --see 3", "unknown flag --see: did you mean --seed?"),
        ("tasks check rte --data x", "unknown flag --data: did you mean --data_dir?"),
        ("demo --seed x", "argument --seed: invalid int value: 'x'"),
        ("demo --methods alphavill", "invalid choice: 'alphavill' (did you mean alphavil?"),
        ("compare x.yaml --otput y", "unknown flag --otput: did you mean --output?"),
        ("tasks chekc", "argument COMMAND: invalid choice: 'chekc' (did you mean check?"),
        ("tasks check rte --data_dri x", "unknown flag --data_dri: did you mean --data_dir?"),
    ],
)
def test_a_mistyped_command_line_is_one_line(words, message, capsys):
    with pytest.raises(SystemExit) as end:
        main(words.split())
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("error: ")
    assert message in err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name, capsys):
    assert list(inspect.signature(import_module(COMMANDS[name][0]).main).parameters)[:2] == ["arguments", "prog"]
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: alphavil {name} ")


@pytest.mark.parametrize("words", [["train", "--target", "rtx", "--use_cpu"], ["tasks", "check", "rtx"]])
def test_commands_take_the_flags_of_their_scripts(words, capsys):
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: unknown task 'rtx'; known are ")
