"""What is said when the Hub refuses something or cannot be reached, and what is left of the run."""

import re
import shlex
from pathlib import Path

import pytest
import torch
from huggingface_hub import upload_folder
from transformers import AutoModel, BertConfig, pipeline

import run_glue_avil
from hf_alphavil.cli import train
from hf_alphavil.modeling.loading import load_config, load_tokenizer
from hf_alphavil.publishing.failures import HubError
from support.driving import call_main
from support.forking import fork, free_port
from support.hub_server import TOKEN, HubServer, hub_at
from support.kinds_run import kinds_trainer, word_tokenizer
from support.own_files import write_rows

SMALL = {"target": "pair", "dropout": 0.0, "alpha_steps": 1, "leave_out": ("tags", "score", "quiz", "prose", "other")}
PUSH = SMALL | {"push_to_hub": True, "hub_model_id": "someone/model"}


@pytest.fixture
def hub():
    server = HubServer()
    server.add("others/theirs")
    server.add("others/gated", {"config.json": b"{}"}, gated=True)
    yield server
    server.close()


REFUSED = {
    "no token": (None, {}, "someone/model cannot be pushed to: there is no token: log in with `hf auth login`"),
    "a wrong token": (TOKEN, {"hub_token": "hf_wrong"}, r"the Hub does not accept the token \(Invalid username"),
    "another's name": (
        TOKEN,
        {"hub_model_id": "others/new"},
        r"the token may not write there \(You don't have the rights",
    ),
    "another's repository": (
        TOKEN,
        {"hub_model_id": "others/theirs"},
        "others/theirs cannot be pushed to: the token may",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_run_that_cannot_push_does_not_begin(hub, tmp_path, case):
    token, settings, message = REFUSED[case]
    with hub_at(hub.endpoint, tmp_path / "cache", token), pytest.raises(HubError, match=message):
        kinds_trainer(tmp_path / "run", **PUSH | settings)
    assert not (tmp_path / "run").exists()


def test_no_network(tmp_path):
    with (
        hub_at(f"http://127.0.0.1:{free_port()}", tmp_path / "cache"),
        pytest.raises(HubError, match="someone/model cannot be pushed to: the Hub cannot be reached"),
    ):
        kinds_trainer(tmp_path / "run", **PUSH)


@pytest.mark.parametrize(("status", "reason"), [(0, "the Hub cannot be reached"), (500, "the Hub answered 500")])
def test_a_failed_push_says_how_to_push_later(hub, tmp_path, status, reason, caplog):
    """At a checkpoint it is a warning. At the end, what was to be pushed is kept, and the named command works."""
    run = tmp_path / "run"
    with hub_at(hub.endpoint, tmp_path / "cache"):
        trainer = kinds_trainer(run, save_strategy="epoch", **PUSH)
        hub.failing, hub.status = "/commit/", status
        trainer.train()
        assert f"A push to someone/model during training failed: {reason}" in caplog.text
        with pytest.raises(HubError, match=f"the push to someone/model failed: {reason}") as error:
            trainer.push_to_hub()
        hub.failing = None
        assert (run / "model.safetensors").is_file()
        command = shlex.split(re.search(r"to push it later: (.*)", str(error.value))[1])
        assert command[:3] == ["hf", "upload", "someone/model"]
        upload_folder(repo_id=command[2], folder_path=command[3], path_in_repo=command[4])
        trainer.model.eval()
        tokens = trainer.processing_class("w1 w2", return_tensors="pt")
        found = pipeline("text-classification", "someone/model").model(**tokens).logits
        torch.testing.assert_close(found, trainer.model("pair", **tokens).logits)
        trainer.push_to_hub()
    assert not Path(command[3]).exists()


ENCODERS = {"others/gated": "gated repo", "others/none": "is not a valid model identifier"}


@pytest.mark.parametrize("load", [load_tokenizer, load_config])
@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_that_may_not_be_read(hub, tmp_path, load, name):
    with hub_at(hub.endpoint, tmp_path / "cache"), pytest.raises(ValueError, match=f"^{name}.*{ENCODERS[name]}"):
        load(name)


def drive_on_hub(endpoint, cache, arguments):
    with hub_at(endpoint, Path(cache), None):
        call_main(run_glue_avil.main, "run_glue_avil.py", arguments)


def test_the_command_says_it_in_one_line_and_loses_nothing(hub, tmp_path):
    rows = [{"text": f"{word} {word}", "label": word} for word in ("yes", "no") * 20]
    for split in ("train", "dev"):
        write_rows(tmp_path / f"{split}.csv", rows)
    (tmp_path / "tasks.yaml").write_text(TASK, encoding="utf-8")
    make_encoder(tmp_path / "encoder")
    hub.failing = "/commit/"
    arguments = ["--target", "mine", "--auxiliary", "none", "--task_config", "tasks.yaml", "--method", "single"]
    arguments += ["--model_name_or_path", "encoder", "--output_dir", "out", "--use_cpu", "--num_train_epochs", "1"]
    arguments += ["--push_to_hub", "--hub_strategy", "end", "--hub_token", TOKEN, "--save_strategy", "no"]
    finished = fork(drive_on_hub, hub.endpoint, str(tmp_path / "cache"), arguments, cwd=tmp_path)
    assert finished.returncode == 2
    last = finished.stderr.splitlines()[-1]
    assert last.startswith("error: the push to someone/out failed: the Hub answered 500")
    assert last.endswith("Everything is saved in out; to push it later: hf upload someone/out out/_push/page-5 .")
    assert "Traceback" not in finished.stderr
    for name in ("model.safetensors", "export/mine/model.safetensors", "eval_results.json", "_push/page-5/README.md"):
        assert (tmp_path / "out" / name).is_file()


def test_a_missing_token_is_said_before_anything_is_loaded(hub, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with hub_at(hub.endpoint, tmp_path / "cache", None), pytest.raises(SystemExit):
        train.main(["--target", "mine", "--recipe", "none", "--task_config", "none.yaml", "--push_to_hub"])
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("error: trainer_output cannot be pushed to: there is no token: log in with `hf auth login`")


TASK = """
mine:
  kind: sequence_classification
  text_columns: [text]
  files:
    splits: {train: train.csv, validation: dev.csv}
"""


def make_encoder(folder):
    config = BertConfig(
        vocab_size=25, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=40,
    )  # fmt: skip
    AutoModel.from_config(config).save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
