"""Every example runs, with tiny models."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, BertConfig, BertModel, LlamaConfig, LlamaModel

from support.driving import command_line
from support.forking import ROOT, fork
from support.kinds_run import word_tokenizer
from support.pages import blocks_of

EXAMPLES = ROOT / "examples"
SIZES = {
    "vocab_size": 25,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}
CPU = {"ACCELERATE_USE_CPU": "true"}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders of a tiny encoder and of a tiny decoder, whose weights are random and whose tokens are words."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    BertModel(BertConfig(max_position_embeddings=128, **SIZES)).save_pretrained(folder / "encoder")
    decoder = LlamaModel(LlamaConfig(num_key_value_heads=1, **SIZES))
    decoder.to(torch.bfloat16).save_pretrained(folder / "decoder")
    for name in ("encoder", "decoder"):
        tokenizer = word_tokenizer()
        if name == "decoder":
            tokenizer.pad_token, tokenizer.eos_token = None, "[SEP]"
        tokenizer.save_pretrained(folder / name)
    return folder


def run_script(script, *arguments):
    """Runs a script as `python SCRIPT ARGUMENTS` does; returns the kept epoch's contributions."""
    sys.argv = [str(script), *arguments]
    return runpy.run_path(str(script), run_name="__main__")["trainer"].history


def run_notebook(path):
    """Runs the cells of code of a notebook in order; returns its history and the last value of its scores."""
    namespace = {"__name__": "__main__"}
    for number, cell in enumerate(json.loads(Path(path).read_text(encoding="utf-8"))["cells"]):
        if cell["cell_type"] == "code":
            assert not cell["outputs"]  # so that a change of the code does not leave old numbers behind
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), namespace)
    return namespace["trainer"].history, namespace["scores"]


@pytest.mark.parametrize(("script", "model"), [("lora_decoder", "decoder"), ("masked_lm", "encoder")])
def test_a_script_trains_with_its_auxiliary_and_exports(script, model, models, tmp_path):
    arguments = [str(models / model), str(tmp_path / "out")]
    finished = fork(run_script, EXAMPLES / f"{script}.py", *arguments, variables=CPU, cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr[-4000:]
    assert len(finished.result) == 3
    assert len(finished.result[0]["contribution"]) == 2
    exported = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out" / "export")
    assert set(exported.config.label2id) == {"complaint", "question"}
    assert {parameter.dtype for parameter in exported.parameters()} == {torch.float32}


def test_the_command_of_own_csv_files_runs(models, tmp_path):
    (block,) = blocks_of(EXAMPLES / "own_csv" / "README.md", "bash")
    _, (program, command, *flags) = block.commands
    assert (program, command) == ("alphavil", "train")
    flags = [str(ROOT / word) if word.startswith("examples/") else word for word in flags]
    small = ["--model_name_or_path", str(models / "encoder"), "--num_train_epochs", "2", "--save_strategy", "no"]
    finished = fork(*command_line([*flags, *small]), variables=CPU, cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr[-4000:]
    assert (tmp_path / "out" / "tickets" / "export" / "tickets" / "config.json").is_file()


@pytest.mark.slow
def test_the_notebook_runs_and_finds_the_task_that_helps(tmp_path):
    finished = fork(run_notebook, EXAMPLES / "quickstart.ipynb", variables=CPU, cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr[-4000:]
    history, scores = finished.result
    assert scores["eval_target_accuracy"] > 0.7
    assert history[-1]["task_weights"]["helpful"] > history[-1]["task_weights"]["noise"]
