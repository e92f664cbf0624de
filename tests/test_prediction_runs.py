"""What the command line predicts and zips, where there is little to predict: no training is lost over it."""

import subprocess
import sys
import zipfile
from types import SimpleNamespace

import pytest
from datasets import Dataset
from launching import ROOT
from test_driver import drive, read

from hf_alphavil.demo import demo_encoder
from hf_alphavil.tasks import SubmissionFormat, Task
from run_glue_avil import predicted_tasks

YAML = """
moods:
  kind: sequence_classification
  text_columns: [text]
  files: {splits: {train: moods.csv}}
  validation_fraction: 0.2
prose:
  kind: masked_lm
  text_columns: [text]
  files: {splits: {train: prose.txt, test: prose.txt}}
"""
SHORT = [
    "--num_train_epochs",
    "1",
    "--save_strategy",
    "no",
    "--disable_tqdm",
    "true",
    "--alpha_holdout_fraction",
    "0.25",
]


@pytest.fixture
def command(tmp_path, real_encoder):
    (tmp_path / "tasks.yaml").write_text(YAML)
    rows = [f"w{n % 7} w{n % 5} w{n % 3},{'good' if n % 2 else 'bad'}" for n in range(200)]
    (tmp_path / "moods.csv").write_text("\n".join(["text,label", *rows]))
    (tmp_path / "prose.txt").write_text("\n".join(row.partition(",")[0] for row in rows))
    return [
        "--target", "moods", "--auxiliary", "prose", "--task_config", tmp_path / "tasks.yaml",
        "--model_name_or_path", real_encoder, "--output_dir", tmp_path / "out", *SHORT,
    ]  # fmt: skip


@pytest.mark.slow
def test_a_set_without_a_prediction(command, tmp_path):
    stale = tmp_path / "out" / "predictions" / "WNLI.tsv"
    stale.parent.mkdir(parents=True)
    stale.write_text("an earlier run's")
    out = tmp_path / "out"
    ran = drive(*command, "--do_train", "--make_submission", "glue", launcher=["--num_processes", "2", "--cpu"])
    assert "11 of 11 files are placeholders" in ran.stdout
    with zipfile.ZipFile(out / "glue.zip") as archive:
        assert len(archive.namelist()) == 11
        assert archive.read("WNLI.tsv").startswith(b"index\tprediction\n")
    assert set(read(out / "alphavil_history.json")[0]["alpha"]) == {"moods", "prose"}
    assert (out / "export" / "moods" / "model.safetensors").is_file()


@pytest.mark.slow
def test_no_test_set_is_said(command, tmp_path):
    ran = drive(*command, "--do_train", "--do_predict", launcher=["--num_processes", "1", "--cpu"])
    assert "moods has no test set to predict: --do_predict writes nothing" in ran.stderr
    assert (tmp_path / "out" / "export" / "moods").is_dir()
    assert not (tmp_path / "out" / "predictions").exists()


def test_a_set_that_cannot_be_made_is_said_before_training(command, tmp_path):
    (tmp_path / "data").mkdir()
    arguments = [
        *command,
        "--do_train",
        "--make_submission",
        "superglue",
        "--data_dir",
        tmp_path / "data",
        "--use_cpu",
    ]
    ran = subprocess.run(
        [sys.executable, str(ROOT / "run_glue_avil.py"), *map(str, arguments)],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert ran.returncode != 0
    assert "a placeholder of MultiRC needs the ids of its test questions" in ran.stderr
    assert not (tmp_path / "out" / "all_results.json").exists()


def test_two_tasks_of_one_prediction_file():
    rows = Dataset.from_dict({"text": ["a"], "label": [-1]})
    tasks = {
        name: Task(name, "regression", ("text",), test=rows, submission=SubmissionFormat("a.tsv")) for name in "ab"
    }
    tasks["b"].head_task = "a"
    args = SimpleNamespace(do_predict=True, target_task="a")
    with pytest.raises(ValueError, match=r"the tasks a and b are both predicted into a.tsv: rename one"):
        predicted_tasks(SimpleNamespace(make_submission=None), args, tasks)


def test_masked_tokens_need_a_mask(command, tmp_path):
    demo_encoder(tmp_path / "encoder")
    arguments = [*command, "--do_train", "--use_cpu", "--model_name_or_path", tmp_path / "encoder"]
    ran = subprocess.run(
        [sys.executable, str(ROOT / "run_glue_avil.py"), *map(str, arguments)],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert ran.returncode != 0
    assert "task 'prose': masked language modelling needs a tokenizer with a mask token" in ran.stderr
