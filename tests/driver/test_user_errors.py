"""A user's errors end the script with one line and status 2; the traceback is shown on request."""

import logging
import os
import sys

import pytest
import torch
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure
from transformers import TrainerState

import run_glue_avil
from hf_alphavil.cli.train_folder import RemoveCheckpoints
from hf_alphavil.files.hub_cache import say_retries_once
from hf_alphavil.script_arguments import DriverTrainingArguments
from hf_alphavil.settings.user_errors import UserErrorsInOneLine, in_one_line
from support.forking import fork
from support.lost_rank import drive_each_rank
from support.own_files import MOOD, ROWS, write_rows


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """The working folder, with one task."""
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "mood.csv", ROWS)
    (tmp_path / "mood.yaml").write_text(MOOD.replace("FILE", "mood.csv"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "damaged" / "tokenizer.json").write_text("{")
    return tmp_path


MOODS = ["--use_cpu", "--target", "mood", "--auxiliary", "none", "--task_config", "mood.yaml", "--do_train"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "which task should be trained? Pass --target, for example --target rte (or --demo)"),
        (["--target", "rtx"], "unknown task 'rtx'; known are "),
        (["--target", "rte", "--recipe", "none", "--data_dir", "nowhere"], "nowhere: no such folder."),
        (["--target", "rte", "--recipe", "none", "--task_config", "no.yaml"], "no.yaml: no such file or folder."),
        (["nothing.yaml"], "nothing.yaml: No such file or directory"),
        (["--method", "none"], "unknown method 'none': pass one of "),
        ([*MOODS, "--model_name_or_path", "/no/such/encoder"], "the encoder's folder /no/such/encoder does not exist"),
        (
            [*MOODS, "--model_name_or_path", "no/encoder"],
            "no/encoder: its configuration cannot be loaded: ",
        ),
        ([*MOODS, "--model_name_or_path", "empty"], "the encoder's folder empty has no config.json"),
        ([*MOODS, "--model_name_or_path", "damaged"], "damaged: its tokenizer cannot be loaded: "),
        ([*MOODS, "--max_train_samples", "0"], "max_train_samples=0: pass 1 or more"),
    ],
)
def test_a_user_s_error_is_one_line(folder, refusal, words, message):
    assert refusal(*words).startswith(message)


def test_the_traceback_is_shown_on_request(monkeypatch, tmp_path):
    (tmp_path / "run.yaml").write_text("target: rtx\ntraceback: true\n")
    for words in (["--target", "rtx", "--traceback"], [str(tmp_path / "run.yaml")]):
        monkeypatch.setattr(sys, "argv", ["run_glue_avil.py", *words])
        with pytest.raises(ValueError, match="unknown task 'rtx'"):
            run_glue_avil.main()


def test_a_fault_of_the_program_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), UserErrorsInOneLine():
        1 / 0  # noqa: B018


@pytest.mark.parametrize("printed", [10, 100_000])
def test_output_that_nobody_reads_ends_the_script_quietly(monkeypatch, printed, capsys):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", encoding="utf-8") as out:
        monkeypatch.setattr(sys, "stdout", out)
        with pytest.raises(SystemExit) as end, UserErrorsInOneLine():
            print("x" * printed)
    assert end.value.code == 141
    assert capsys.readouterr().err == ""


def test_another_broken_pipe_is_an_error(capsys):
    with pytest.raises(SystemExit), UserErrorsInOneLine():
        raise BrokenPipeError("a worker has ended")
    assert capsys.readouterr().err == "error: a worker has ended\n"


@pytest.mark.distributed
@pytest.mark.parametrize("words", [["--target", "rtx"], ["--no_such_flag"]])
def test_an_error_of_all_processes_is_printed_once(words, tmp_path):
    """A launcher ends the other processes when the first has ended."""
    run = fork(drive_each_rank, [[*words, "--use_cpu"]] * 2, 30, config="ddp", num_processes=2, cwd=tmp_path)
    assert run.returncode == 2
    assert run.stderr.count("error: ") == 1
    assert "rank" not in run.stderr


@pytest.mark.distributed
def test_an_error_of_one_process_names_its_rank(tmp_path):
    report = tmp_path / "report"
    variables = {"TORCHELASTIC_ERROR_FILE": str(report)}  # of torchrun
    words = [None, ["--target", "rtx", "--use_cpu"]]
    run = fork(drive_each_rank, words, 0, config="ddp", num_processes=2, cwd=tmp_path, variables=variables)
    assert run.returncode == 2
    assert run.stderr.count("error: ") == run.stderr.count("error: rank 1: unknown task 'rtx'") == 1
    failure = ProcessFailure(local_rank=1, pid=1, exitcode=2, error_file=str(report))
    assert failure.message["message"].startswith("rank 1: unknown task 'rtx'")


def test_retries_of_requests_are_one_line(capsys):
    say_retries_once()
    say_retries_once()
    requests = logging.getLogger("huggingface_hub.utils._http")
    handler = logging.StreamHandler(sys.stdout)
    root, shown = logging.getLogger(), logging.getLogger("huggingface_hub")
    root.addHandler(handler)
    shown.addHandler(handler)
    try:
        url = "https://huggingface.co/x"
        for number in range(1, 6):
            requests.warning("'[Errno -2] Name or service not known' thrown while requesting HEAD " + url)
            requests.warning(f"Retrying in {number}s [Retry {number}/5].")
        requests.warning("something else")
    finally:
        root.removeHandler(handler)
        shown.removeHandler(handler)
    assert capsys.readouterr().out.splitlines() == [
        "the Hub cannot be reached ('[Errno -2] Name or service not known'): trying again ...",
        "something else",
    ]


def test_a_folder_to_overwrite_loses_its_checkpoints_when_training_starts(tmp_path):
    args = DriverTrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    for name in ("checkpoint-3", "checkpoint-12", "checkpoint-best", "plots"):
        (tmp_path / name).mkdir()
    RemoveCheckpoints().on_train_begin(args, TrainerState(is_world_process_zero=False), None)
    assert len(list(tmp_path.iterdir())) == 4
    RemoveCheckpoints().on_train_begin(args, TrainerState(is_world_process_zero=True), None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-best", "plots"]


def test_a_long_message_is_one_line():
    text = in_one_line(ValueError("one\n\n  two " + "x" * 5000))
    assert text.startswith("one two xxx")
    assert len(text) < 1100


def test_the_script_s_arguments_have_a_home(tmp_path):
    """`training_args.bin` loads where `run_glue_avil.py` is not the running script."""
    args = DriverTrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    torch.save(args, tmp_path / "training_args.bin")
    assert type(args).__module__ == "hf_alphavil.script_arguments"
    loaded = torch.load(tmp_path / "training_args.bin", weights_only=False)
    assert loaded.to_dict() == args.to_dict()
