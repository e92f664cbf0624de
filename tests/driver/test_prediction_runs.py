"""The command line predicts test sets and zips submissions; what it cannot predict is refused before training."""

import zipfile
from dataclasses import replace

import pytest
import yaml
from datasets import Dataset

from hf_alphavil.demo.suite import demo_encoder
from hf_alphavil.tasks import SubmissionFormat, Task
from hf_alphavil.tasks.selection import predicted_tasks
from support.driving import drive, read, refused_by_driver

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
SHORT = ["--num_train_epochs", "1", "--save_strategy", "no", "--alpha_holdout_fraction", "0.25"]
SHORT += ["--disable_tqdm", "true"]


@pytest.fixture
def command(tmp_path, small_encoder):
    (tmp_path / "tasks.yaml").write_text(YAML)
    rows = [f"w{n % 7} w{n % 5} w{n % 3},{'good' if n % 2 else 'bad'}" for n in range(60)]
    (tmp_path / "moods.csv").write_text("\n".join(["text,label", *rows]))
    (tmp_path / "prose.txt").write_text("\n".join(row.partition(",")[0] for row in rows))
    return [
        "--target", "moods", "--auxiliary", "prose", "--task_config", tmp_path / "tasks.yaml",
        "--model_name_or_path", small_encoder, "--output_dir", tmp_path / "out", *SHORT,
    ]  # fmt: skip


def alone(command):
    return ["none" if word == "prose" else word for word in command]


def test_a_set_without_a_prediction(command, tmp_path):
    stale = tmp_path / "out" / "predictions" / "WNLI.tsv"
    stale.parent.mkdir(parents=True)
    stale.write_text("an earlier run's")
    out = tmp_path / "out"
    ran = drive(*command, "--do_train", "--make_submission", "glue", "--use_cpu")
    assert "11 of 11 files are placeholders" in ran.stdout
    with zipfile.ZipFile(out / "glue.zip") as archive:
        assert len(archive.namelist()) == 11
        assert archive.read("WNLI.tsv").startswith(b"index\tprediction\n")
    assert set(read(out / "alphavil_history.json")[0]["alpha"]) == {"moods", "prose"}
    assert (out / "export" / "moods" / "model.safetensors").is_file()


def test_an_impossible_set_is_refused_before_training(command, tmp_path):
    (tmp_path / "data").mkdir()
    arguments = [
        *command,
        "--do_train",
        "--make_submission",
        "superglue",
        "--use_cpu",
        "--data_dir",
        tmp_path / "data",
    ]
    said = refused_by_driver(arguments, tmp_path)
    assert "a placeholder of MultiRC needs the ids of its test questions" in said
    assert not (tmp_path / "out" / "all_results.json").exists()


def test_prediction_keeps_the_report_of_the_training_run(command, tmp_path):
    """Prediction with a trained model, from a YAML file of flags, keeps the report of the training run."""
    out = tmp_path / "out"
    drive(*command, "--do_train", "--do_eval")
    assert not (out / "predictions").exists()
    (tmp_path / "tasks.yaml").write_text(YAML.replace("train: moods.csv", "train: moods.csv, test: moods.csv"))
    record = {name: (out / name).read_bytes() for name in ("README.md", "alphavil_history.json")}
    # Two training rows are too few to hold some out; a run that only predicts must not check that.
    flags = {
        "target": "moods", "auxiliary": ["none"], "task_config": str(tmp_path / "tasks.yaml"), "do_predict": True,
        "model_name_or_path": str(out), "output_dir": str(out), "max_train_samples": 2, "max_seq_length": 16,
        "use_cpu": True, "disable_tqdm": True,
    }  # fmt: skip
    (tmp_path / "predict.yaml").write_text(yaml.safe_dump(flags))
    ran = drive(tmp_path / "predict.yaml")
    assert {name: (out / name).read_bytes() for name in record} == record
    assert len((out / "predictions" / "moods.tsv").read_text().splitlines()) == 61
    assert "start at random" not in ran.stderr
    assert "start with random values" not in ran.stderr


def test_predicting_with_an_untrained_model_warns(command, tmp_path):
    (tmp_path / "tasks.yaml").write_text(YAML.replace("train: moods.csv", "train: moods.csv, test: moods.csv"))
    ran = drive(*alone(command), "--do_predict", "--max_eval_samples", "3", "--use_cpu", "true")
    assert "has no heads: they start at random, and nothing will train them" in ran.stderr
    assert "A run without --do_eval does not read --max_eval_samples, which has no effect." in ran.stderr


def test_what_the_user_says_is_told_from_what_is_derived(command, tmp_path):
    """`--eval_strategy` alone trains too; prediction files are whole under `--max_eval_samples`."""
    (tmp_path / "tasks.yaml").write_text(YAML.replace("train: moods.csv", "train: moods.csv, test: moods.csv"))
    out = tmp_path / "out"
    flags = ["--eval_strategy", "epoch", "--use_cpu", "true", "--max_eval_samples", "3"]
    drive(*alone(command), *flags)
    results = read(out / "all_results.json")
    assert {"train_loss", "eval_moods_accuracy"} <= set(results)
    assert (out / "model.safetensors").is_file()
    predict = [*alone(command), *flags, "--do_predict", "--model_name_or_path", out, "--output_dir"]
    drive(*predict, tmp_path / "whole")
    assert len((tmp_path / "whole" / "predictions" / "moods.tsv").read_text().splitlines()) == 61
    assert not (tmp_path / "whole" / "model.safetensors").exists()
    drive(*predict, tmp_path / "part", "--max_predict_samples", "5")
    assert len((tmp_path / "part" / "predictions" / "moods.tsv").read_text().splitlines()) == 6


def test_what_the_user_says_not_to_do_is_not_done(command, tmp_path):
    trained, out = tmp_path / "trained", tmp_path / "out"
    flags = ["--eval_strategy", "epoch", "--use_cpu", "true", "--output_dir"]
    drive(*alone(command), *flags, trained, "--do_eval", "false")
    assert "train_loss" in read(trained / "all_results.json")
    assert not (trained / "eval_results.json").exists()
    drive(*alone(command), *flags, out, "--do_train", "false", "--model_name_or_path", trained)
    assert "eval_moods_accuracy" in read(out / "all_results.json")
    assert not (out / "train_results.json").exists()


def test_a_target_without_a_validation_set(command, tmp_path):
    (tmp_path / "tasks.yaml").write_text(YAML.replace("  validation_fraction: 0.2\n", ""))
    said = refused_by_driver([*command, "--use_cpu"], tmp_path)
    assert "the target moods has no validation split to evaluate on: add one, write `validation_fraction" in said
    assert not (tmp_path / "out" / "all_results.json").exists()


def test_two_tasks_of_one_prediction_file():
    rows = Dataset.from_dict({"text": ["a"], "label": [-1]})
    tasks = {
        name: Task(name, "regression", ("text",), test=rows, submission=SubmissionFormat("a.tsv")) for name in "ab"
    }
    tasks["b"] = replace(tasks["b"], head_task="a")
    with pytest.raises(ValueError, match=r"the tasks a and b are both predicted into a.tsv: rename one"):
        predicted_tasks(tasks, target="a")


def test_masked_tokens_need_a_mask(command, tmp_path):
    demo_encoder(tmp_path / "encoder")
    arguments = [*command, "--do_train", "--use_cpu", "--model_name_or_path", tmp_path / "encoder"]
    said = refused_by_driver(arguments, tmp_path)
    assert "task 'prose': masked language modelling needs a tokenizer with a mask token" in said
