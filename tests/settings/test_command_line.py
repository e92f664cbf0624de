"""The command line: files of flags, overrides, groups in `--help`, and errors of one line."""

import re
import sys
from dataclasses import fields
from functools import partial

import pytest
from transformers import TrainingArguments

from hf_alphavil.cli import train
from hf_alphavil.modeling.lora import LoraArguments
from hf_alphavil.script_arguments import COMMON_FLAGS, DriverArguments, DriverTrainingArguments
from hf_alphavil.settings import MultitaskSettings
from hf_alphavil.settings.command_line import parse_command_line

CLASSES = (DriverArguments, DriverTrainingArguments, LoraArguments)


@pytest.fixture
def parse(monkeypatch, tmp_path):
    """Parses words; `content` is written into the file that the first word names."""

    def parse(*words, content=None):
        monkeypatch.chdir(tmp_path)
        if content is not None:
            (tmp_path / words[0]).write_text(content, encoding="utf-8")
        monkeypatch.setattr(sys, "argv", ["script.py", *words])
        return parse_command_line(CLASSES)[:-1]

    return parse


def test_what_nobody_set_is_not_called_changed(parse):
    _, args, _ = parse("--target", "rte", "--output_dir", "out", "--weight_decay", "0.5")
    assert args.changed() == {"output_dir": "out", "weight_decay": 0.5}
    _, args, _ = parse("--debug", "underflow_overflow", "--include_num_input_tokens_seen", "yes", "--do_train")
    assert {"debug", "include_num_input_tokens_seen", "do_train"} <= args.changed().keys()


CONTENTS = {
    "run.json": '{"learning_rate": 5e-05, "alpha_l2": "1e-5", "max_seq_length": 16, "run_name": "\\ud83d\\ude00"}',
    "tabs.json": '{\n\t"learning_rate": 5e-5,\n\t"alpha_l2": 1e-5,\n\t"max_length": 16, "run_name": "\U0001f600"}',
    "run.yaml": "learning_rate: 5e-5\nalpha_l2: 1e-5\nmax_seq_length: 16\nrun_name: \U0001f600\n",
}


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_files_of_flags(parse, name, mark):
    _, args, _ = parse(name, content=mark + CONTENTS[name])
    assert (args.learning_rate, args.alpha_l2, args.max_length, args.run_name) == (5e-5, 1e-5, 16, "\U0001f600")


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("phase_parallel: on", "phase_parallel", "on"),
        ("save_strategy: no", "save_strategy", "no"),
        ("target: no", "target", "no"),
        ("run_name: 012", "run_name", "012"),
        ("run_name: 2024-01-01", "run_name", "2024-01-01"),
        ("run_name: 1:30", "run_name", "1:30"),
        ("do_train: on", "do_train", True),
        ("do_eval: Yes", "do_eval", True),
        ("average_tokens_across_devices: off", "average_tokens_across_devices", False),
        ("max_steps: 1_0", "max_steps", 10),
        ("auxiliary: tweets", "auxiliary", ["tweets"]),
        ("auxiliary: [no, on, 1e3]", "auxiliary", ["no", "on", "1e3"]),
        ("report_to: none", "report_to", []),
        ("report_to: [none]", "report_to", []),
        ("task_weights: {rte: 2, mrpc: 0.5}", "task_weights", {"rte": 2.0, "mrpc": 0.5}),
        ("task_weights: [rte=2, mrpc=5e-1]", "task_weights", {"rte": 2.0, "mrpc": 0.5}),
        ("task_weights: rte=2", "task_weights", {"rte": 2.0}),
        ("task_weights: '{\"rte\": 2}'", "task_weights", {"rte": 2.0}),
        ("task_weights: null", "task_weights", None),
        ("max_length: null", "max_length", None),
        ("lr_scheduler_kwargs: {min_lr: 1e-5, name: 'no'}", "lr_scheduler_kwargs", {"min_lr": 1e-5, "name": "no"}),
        ('lr_scheduler_kwargs: "{\\"min_lr\\": 1}"', "lr_scheduler_kwargs", {"min_lr": 1}),
    ],
)
def test_a_value_is_what_is_written(parse, line, name, value):
    driver, args, _ = parse("run.yaml", "--use_cpu", content=line)
    found = getattr(driver if hasattr(driver, name) else args, name)
    assert found == value
    assert type(found) is type(value) or name == "save_strategy"


def test_flags_override_a_file(parse):
    content = "target: rte\nauxiliary: [cb, copa]\nnum_train_epochs: 5\nlora_target_modules: [query]\n"
    driver, args, lora = parse("run.yaml", "--num_train_epochs", "1", "--auxiliary", "none", content=content)
    assert (driver.target, driver.auxiliary, args.num_train_epochs) == ("rte", ["none"], 1)
    assert lora.lora_target_modules == ["query"]
    assert parse("run.yaml")[1].num_train_epochs == 5


@pytest.mark.parametrize("words", [["rte=2", "mrpc=0.5"], ['{"rte": 2, "mrpc": 0.5}']])
def test_weights_of_tasks(parse, words):
    content = '{"task_weights": {"rte": 2, "mrpc": 0.5}}'
    of_words, of_file = parse("--task_weights", *words)[1], parse("run.json", content=content)[1]
    assert of_words.task_weights == of_file.task_weights == {"rte": 2.0, "mrpc": 0.5}


@pytest.mark.parametrize(
    ("words", "content", "message"),
    [
        (["--targt", "rte"], None, "unknown flag --targt: did you mean --target?"),
        (["--xyzzy=3"], None, "unknown flag --xyzzy; --help lists all flags"),
        (
            ["rte"],
            None,
            "unexpected 'rte': write a flag's name before its value; a file of flags (.yaml, .yml, .json) comes first",
        ),
        (["--learning_rate", "fast"], None, "argument --learning_rate/--learning-rate: invalid float value: 'fast'"),
        (["--optim", "adam"], None, "argument --optim: invalid choice: 'adam' (did you mean "),
        (
            ["--task_sampling", "?"],
            None,
            "argument --task_sampling/--task-sampling: invalid choice: '?' (pass one of ",
        ),
        (["x.yaml"], "learning_rate: fast", "x.yaml: argument --learning_rate/--learning-rate: invalid float value"),
        (["x.yaml"], "learnin_rate: 1", "x.yaml: unknown flag --learnin_rate: did you mean --learning_rate?"),
        (["x.yaml"], "target: [rte, cb]", "x.yaml: target is a list: write one value"),
        (["x.yaml"], "target: {rte: cb}", "x.yaml: target is a mapping: write one value"),
        (["x.yaml"], "seed: ~", "x.yaml: seed: leave it out for the default, 42"),
        (["x.yaml"], "phase_parallel: true", "invalid choice: 'true' (pass one of off, auto, on)"),
        (["--learning_rat", "1e-4"], None, "unknown flag --learning_rat: did you mean --learning_rate?"),
        (["--learning=1"], None, "unknown flag --learning: did you mean --learning_rate?"),
        (["x.yaml", "--lr_s", "1"], "seed: 1", "did you mean --lr_scheduler_type or --lr_scheduler_kwargs?"),
    ],
)
def test_a_wrong_flag_or_value_ends_in_a_line(parse, capsys, words, content, message):
    with pytest.raises(SystemExit) as caught:
        parse(*words, content=content)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.yaml", "- target", "x.yaml is not a mapping from flags to values: write one `flag: value` per line"),
        ("x.json", "[]", "x.json is not a mapping from flags to values"),
        ("x.yaml", "seed: 1\nseed: 2", "x.yaml, line 2: the key 'seed' occurs twice."),
        ("x.json", '{"seed": 1, "seed": 2}', "x.json: the key 'seed' occurs twice"),
        ("x.yaml", "a: b: c", "x.yaml, line 1: is not YAML"),
        ("x.yaml", "seed: !!python/object/apply:os.getpid []", "x.yaml, line 1: is not YAML"),
        (
            "x.yaml",
            "method_kwargs: {c: no}",
            "x.yaml, line 1: 'no' is read as false.",
        ),
        ("x.json", "{", "x.json: Expecting property name"),
        ("x.yaml", "alpha_steps: -1", "alpha_steps=-1: pass a number of steps, 0 or more"),
        ("x.yaml", "method: alphavill", "unknown method 'alphavill': pass one of alphavil, "),
    ],
)
def test_a_wrong_file_or_setting_is_named(parse, name, content, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        parse(name, content=content)


def test_help_is_grouped_with_ours_first(parse, capsys):
    with pytest.raises(SystemExit):
        parse("--help")
    shown = capsys.readouterr().out
    titles = re.findall(r"^(\S.*):$", shown, flags=re.MULTILINE)
    assert titles == [
        "options", "target, data and encoder", "auxiliary tasks, predictions and report", "task", "method",
        "αVIL: the α step", "αVIL: task weights", "αVIL: phases", "sampling of tasks and rows",
        "Hugging Face Hub", "LoRA",
        "Trainer (transformers.TrainingArguments)",
    ]  # fmt: skip
    ours, trainers = shown.split("Trainer (transformers.TrainingArguments):")
    own = {entry.name for entry in fields(MultitaskSettings)} - {entry.name for entry in fields(TrainingArguments)}
    assert all(f"  --{name}" in ours for name in own | {"target", "lora_r"})
    assert all(f"  --{entry.name}" in trainers for entry in fields(TrainingArguments))
    assert len(shown[: shown.index("options:")].splitlines()) < 12  # no usage of hundreds of lines


def test_help_shows_the_most_used_flags_and_examples_as_they_are_written(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    shown = {}
    for word in ("--help", "--help_all"):
        with pytest.raises(SystemExit) as end:
            parse_command_line(CLASSES, train.__doc__, [word], "alphavil train", COMMON_FLAGS)
        assert end.value.code == 0
        shown[word] = capsys.readouterr().out
        assert train.__doc__.strip() in shown[word]
    flags = {word: re.findall(r"^  --(\w+)", text, flags=re.MULTILINE) for word, text in shown.items()}
    assert sorted(flags["--help"]) == sorted({"help_all", *COMMON_FLAGS})
    assert set(flags["--help"]) < set(flags["--help_all"])
    assert len(flags["--help_all"]) > 200
    assert len(shown["--help"].splitlines()) < 150
    assert f"most used of {len(flags['--help_all']) + 1} flags" in shown["--help"]  # with `-h, --help`


@pytest.mark.parametrize(
    ("words", "done"),
    [
        ("", "train eval"),
        ("--do_train", "train"),
        ("--do_eval", "eval"),
        ("--do_predict", "predict"),
        ("--do_train --eval_strategy epoch", "train eval"),
        ("--do_eval false", "train"),
        ("--do_eval false --eval_strategy epoch", "train"),
        ("--do_train --do_eval false --eval_strategy epoch", "train"),
        ("--do_train false", "eval"),
        ("--do_predict false", "train eval"),
        ("--do_train false --do_predict", "predict"),
        ("--do_train false --do_eval false --do_predict", "predict"),
        ("--do_train false --do_eval false --make_submission glue", ""),
        ("--do_train false --do_eval false --eval_strategy epoch", None),
    ],
)
def test_what_the_script_does(words, done, tmp_path):
    """Without a flag that says yes, training and evaluation, unless a flag says no."""
    driver, args, _, given = parse_command_line(CLASSES, arguments=[*words.split(), "--output_dir", str(tmp_path)])
    decide = partial(args.decide, given, predicts=driver.make_submission is not None)
    if done is None:
        with pytest.raises(ValueError, match="leave nothing to do"):
            decide()
    else:
        decide()
        assert [name for name in ("train", "eval", "predict") if getattr(args, f"do_{name}")] == done.split()
        assert args.changed().keys() & {"do_train", "do_eval"} <= given
