"""The command line on real data with a real encoder."""

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, pipeline

from hf_alphavil.checkpointing.folder import checkpoints
from hf_alphavil.demo.suite import demo_encoder
from support.driving import SMALL, drive, drive_until_sigterm, is_plain, launch_driver, read, refused_by_driver
from support.forking import ROOT, free_port
from support.page_reader import Page

SMALL += ["--per_device_eval_batch_size", "32", "--save_strategy", "no"]


@pytest.mark.parametrize("encoder", ["small_encoder", pytest.param("real_encoder", marks=pytest.mark.slow)])
def test_one_process_leaves_everything(encoder, data_dir, tmp_path, request):
    encoder, out = request.getfixturevalue(encoder), tmp_path / "out"
    finished = drive(
        "--target", "cb", "--auxiliary", "copa", "stsb", "--data_dir", data_dir, "--model_name_or_path", encoder,
        "--output_dir", out, "--num_train_epochs", "2", "--do_train", "--do_eval", "--do_predict", *SMALL,
        "--max_train_samples", "32", "--max_eval_samples", "16", "--alpha_holdout_fraction", "0.25",
        "--alpha_steps", "3", "--max_seq_length", "16", "--alphavil_preset", "paper",
    )  # fmt: skip
    results = read(out / "all_results.json")
    assert read(out / "eval_results.json").items() <= results.items()
    assert {"eval_cb_accuracy", "eval_cb_f1", "eval_cb_combined_score", "eval_cb_loss", "train_loss"} <= set(results)
    history = read(out / "alphavil_history.json")
    assert [entry["epoch"] for entry in history] == [1, 2]
    for entry in history:
        tasks = {"cb", "copa", "stsb"}
        assert set(entry["alpha"]) == set(entry["task_weights"]) == set(entry["task_weights_used"]) == tasks
        assert len(entry["meta_loss"]) == 4
    assert history[1]["task_weights_used"] == history[0]["task_weights"]
    assert (out / "plots" / "task_weights.png").read_bytes().startswith(b"\x89PNG")
    page = Page(out / "report.html")
    assert f"{results['eval_cb_combined_score']:.4f}" in page.sections["score"]
    assert page.sections["rows"].count("contradiction") + page.sections["rows"].count("entailment") > 0
    assert finished.stdout.count(f"wrote {out / 'report.html'}") == 1
    predictions = [json.loads(line) for line in (out / "predictions" / "CB.jsonl").read_text().splitlines()]
    assert len(predictions) == 16
    assert {row["label"] for row in predictions} <= {"entailment", "contradiction", "neutral"}
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "model-index" in card
    assert '"text_pair": "The second text."' in card
    assert f"{results['eval_cb_accuracy']:.4f}" in card
    last_lines = finished.stdout.strip().splitlines()[-6:]
    assert f"cb: validation combined_score {results['eval_cb_combined_score']:.4f}" in finished.stdout
    assert [line.split()[0] for line in last_lines[-4:]] == ["cb", "copa", "stsb", "Verdicts"]

    classify = pipeline("text-classification", model=str(out / "export" / "cb"), device="cpu")
    assert is_plain(classify.model)
    label = classify({"text": "It rains.", "text_pair": "It is wet."})["label"]
    assert label in {"entailment", "contradiction", "neutral"}

    # The saved multitask model can be evaluated again, to the same score, from a configuration file.
    again = {"target": "cb", "auxiliary": ["copa", "stsb"], "data_dir": str(data_dir), "do_eval": True}
    again |= {"model_name_or_path": str(out), "output_dir": str(tmp_path / "again"), "max_eval_samples": 16}
    again |= {"max_length": 16, "use_cpu": True, "disable_tqdm": True}
    (tmp_path / "again.json").write_text(json.dumps(again), encoding="utf-8")
    drive(tmp_path / "again.json")
    assert read(tmp_path / "again" / "eval_results.json")["eval_cb_loss"] == pytest.approx(
        results["eval_cb_loss"], rel=1e-4
    )


def test_adapters_are_trained_merged_and_loaded_again(data_dir, small_encoder, tmp_path):
    common = ["--target", "cb", "--auxiliary", "copa", "--data_dir", data_dir, *SMALL, "--max_phase_steps", "3"]
    drive(
        *common, "--model_name_or_path", small_encoder, "--output_dir", tmp_path / "out", "--num_train_epochs", "1",
        "--use_peft", "--lora_r", "2", "--lora_target_modules", "query", "dense", "--learning_rate", "1e-3",
        "--dtype", "bfloat16", "--alpha_optimizer", "secant",
    )  # fmt: skip
    (entry,) = read(tmp_path / "out" / "alphavil_history.json")
    assert entry["acceptance_loss"][1] <= entry["acceptance_loss"][0]
    assert set(entry["alpha_standard_error"]) == {"cb", "copa"}
    saved = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert not (tmp_path / "out" / "model.safetensors").exists()
    assert any("intermediate.dense.lora_A" in name for name in saved)
    assert any("tasks.cb.classifier" in name for name in saved)
    assert {tensor.dtype for tensor in saved.values()} == {torch.float32}
    assert read(tmp_path / "out" / "config.json")["encoder"]["dtype"] == "bfloat16"
    drive(*common, "--model_name_or_path", tmp_path / "out", "--output_dir", tmp_path / "again", "--do_eval")
    # A run that goes on from the folder needs no flags, and its card tells of the same adapters.
    drive(
        *common, "--model_name_or_path", tmp_path / "out", "--output_dir", tmp_path / "on", "--num_train_epochs", "1"
    )
    config = read(tmp_path / "on" / "adapter_config.json")
    assert config["r"] == 2
    for folder in ("out", "on"):
        card = (tmp_path / folder / "README.md").read_text(encoding="utf-8")
        rows = {"use_peft": True, "lora_r": config["r"], "lora_target_modules": ["dense", "query"]}
        assert all(f"| `{name}` | {value} |" in card for name, value in rows.items())
        assert "lora_alpha" not in card  # the default
    words = [*common, "--model_name_or_path", tmp_path / "out", "--use_peft", "--lora_r", "16", "--use_cpu"]
    assert "lora_r=16 contradicts the adapters in" in refused_by_driver(words, tmp_path)
    # The exports have ordinary weights without adapters, equal from the run and from its saved folder.
    one, other = (load_file(tmp_path / folder / "export" / "cb" / "model.safetensors") for folder in ("out", "again"))
    assert not any("lora" in name for name in one)
    assert one.keys() == other.keys()
    assert {tensor.dtype for tensor in one.values()} == {torch.float32}
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], rtol=0, atol=1e-6)
    first, again = (read(tmp_path / folder / "eval_results.json")["eval_cb_loss"] for folder in ("out", "again"))
    assert first == pytest.approx(again, rel=1e-5)
    config = read(tmp_path / "out" / "export" / "cb" / "config.json")
    assert list(config["id2label"].values()) == ["entailment", "contradiction", "neutral"]


def small_run(data_dir, encoder):
    common = ["--target", "rte", "--auxiliary", "wnli", "--data_dir", data_dir, "--use_cpu"]
    common += ["--model_name_or_path", encoder, "--num_train_epochs", "1", "--alpha_batch_size", "8", *SMALL]
    return [*common, "--max_train_samples", "48", "--max_eval_samples", "16", "--alpha_holdout_fraction", "0.25"]


def assert_about_equal(folder, other):
    """Close, not equal: the encoder's dropout masks depend on how a batch is split."""
    one, two = (read(path / "alphavil_history.json")[0] for path in (folder, other))
    for task in ("rte", "wnli"):
        assert one["task_weights"][task] == pytest.approx(two["task_weights"][task], abs=0.5)
    assert one["meta_loss"][0] == pytest.approx(two["meta_loss"][0], rel=0.05)


STARTS_TWO = "starting 2 with torch's launcher"


@pytest.mark.distributed
def test_two_processes_equal_one(data_dir, small_encoder, tmp_path):
    """Two processes give about the α and weights of one process with twice the batch."""
    common = small_run(data_dir, small_encoder)
    two = drive(
        *common, "--output_dir", tmp_path / "two", "--per_device_train_batch_size", "4", config="ddp", num_processes=2
    )
    assert STARTS_TWO not in two.stderr
    assert two.stdout.count("rte: validation accuracy") == 1
    drive(*common, "--output_dir", tmp_path / "one", "--per_device_train_batch_size", "8")
    assert_about_equal(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
@pytest.mark.distributed
def test_two_launched_processes_equal_one(data_dir, small_encoder, tmp_path):
    """By the README's command `accelerate launch --cpu`, and one process by the launch file of one."""
    common = small_run(data_dir, small_encoder)
    two = launch_driver(
        *common, "--output_dir", tmp_path / "two", "--per_device_train_batch_size", "4",
        launcher=["--cpu", "--num_processes", "2", "--main_process_port", str(free_port())],
    )  # fmt: skip
    assert STARTS_TWO in two.stderr
    assert two.stdout.count("rte: validation accuracy") == 1
    one = launch_driver(
        *common, "--output_dir", tmp_path / "one", "--per_device_train_batch_size", "8",
        launcher=["--config_file", ROOT / "configs" / "single.yaml"],
    )  # fmt: skip
    assert "with torch's launcher" not in one.stderr
    assert_about_equal(tmp_path / "one", tmp_path / "two")
    for name, processes in (("one", 1), ("two", 2)):
        assert f"| `processes` | {processes} |" in (tmp_path / name / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.distributed
def test_sharded_by_the_launch_file(data_dir, tmp_path):
    """FSDP2 on two CPU processes writes the same outputs as one process, and sharded checkpoints."""
    demo_encoder(tmp_path / "encoder")
    out = tmp_path / "out"
    common = ["--target", "cb", "--auxiliary", "copa", "--data_dir", data_dir, "--output_dir", out, "--use_cpu"]
    common += ["--model_name_or_path", tmp_path / "encoder", "--num_train_epochs", "1", *SMALL]
    common += ["--do_train", "--do_eval", "--do_predict", "--save_strategy", "steps"]
    common += ["--save_steps", "2", "--max_train_samples", "32", "--alpha_holdout_fraction", "0.25"]
    drive(*common, config="fsdp2", num_processes=2)
    assert "eval_cb_combined_score" in read(out / "all_results.json")
    weights = load_file(out / "model.safetensors")
    assert (out / "checkpoint-2" / "pytorch_model_fsdp_0").is_dir()
    assert len(read(out / "alphavil_history.json")) == 1
    assert len((out / "predictions" / "CB.jsonl").read_text().splitlines()) == 16
    model = AutoModelForSequenceClassification.from_pretrained(out / "export" / "cb")
    assert torch.equal(model.classifier.weight, weights["tasks.cb.classifier.weight"])


def test_sigterm_stops_the_driver_and_it_resumes(data_dir, small_encoder, tmp_path):
    command = ["--target", "cb", "--auxiliary", "copa", "--data_dir", data_dir, "--model_name_or_path", small_encoder]
    command += ["--output_dir", tmp_path, "--num_train_epochs", "2", "--resume_from_checkpoint", "auto", *SMALL]
    stopped = drive_until_sigterm(*command, step=5)
    assert stopped.returncode == 143, stopped.stderr[-3000:]
    assert "`--resume_from_checkpoint auto` continues" in stopped.stdout
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-5"]
    drive(*command)
    assert [entry["epoch"] for entry in read(tmp_path / "alphavil_history.json")] == [1, 2]
