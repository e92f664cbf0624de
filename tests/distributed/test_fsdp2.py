"""FSDP2 on two processes equals DDP. The toy model's runs are in test_exactness.py and test_resume.py."""

import os
from types import SimpleNamespace

import pytest
import torch
from accelerate.utils import FullyShardedDataParallelPlugin, TorchDynamoPlugin
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
from transformers import AutoModelForSequenceClassification, BertConfig

from hf_alphavil import MultitaskConfig, MultitaskModel
from hf_alphavil.checkpointing.run_state import STATE_NAME, load_run_tensors, save_run_state
from hf_alphavil.distributed.refusals import check_evaluation, check_sharding, check_tied_weights
from support.forking import fork_runs
from support.sharded_run import ROWS, checked_run, rows, run_bert

TOLERANCE = 1e-6  # float32: ranks' gradients are summed in another order


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same run under both launch files, with a regression on standardised labels. `folder` is the output."""
    results = {}
    for config in ("ddp", "fsdp2"):
        folder = tmp_path_factory.mktemp(config)
        settings = {"output_dir": str(folder), "save_strategy": "steps", "save_steps": 3}
        settings["regression_scale"] = "standardize"
        (run,) = fork_runs(run_bert, [settings], config, 2)
        results[config] = run | {"folder": folder}
    return results


def assert_close(mine, theirs):
    assert mine.keys() == theirs.keys()
    for name in mine:
        torch.testing.assert_close(mine[name], theirs[name], rtol=0, atol=TOLERANCE, msg=name)


@pytest.mark.distributed
def test_equals_ddp(runs):
    ddp, fsdp2 = runs["ddp"], runs["fsdp2"]
    assert ddp["sharded"] == []
    assert {"", "encoder.encoder.layer.0", "encoder.encoder.layer.1"} <= set(fsdp2["sharded"])
    assert len(fsdp2["history"]) == 2
    for mine, theirs in zip(fsdp2["history"], ddp["history"], strict=True):
        for key in ("alpha", "task_weights", "task_weights_used"):
            assert mine[key] == pytest.approx(theirs[key], abs=TOLERANCE), key
        # The losses of the acceptance test come from consecutive forward passes, between which parameters are
        # overwritten.
        for key in ("meta_loss", "acceptance_loss"):
            assert mine[key] == pytest.approx(theirs[key], abs=TOLERANCE), key
        assert not mine["alpha_diverged"]
        for task, others in theirs["delta_cosine"].items():
            assert mine["delta_cosine"][task] == pytest.approx(others, abs=1e-3), task
    # α's step size is in units of a gradient, so that a wrong factor of all inner products would not show in α.
    assert fsdp2["gradient_unit"] == pytest.approx(ddp["gradient_unit"], rel=1e-4)
    for mine, theirs in zip(fsdp2["epochs"], ddp["epochs"], strict=True):
        assert_close(mine["theta0"], theirs["theta0"])
        assert_close(mine["theta"], theirs["theta"])
        for task in ROWS:
            assert_close(mine["delta"][task], theirs["delta"][task])
            assert mine["delta"][task]["encoder.embeddings.word_embeddings.weight"].abs().max() > 1e-4
    assert fsdp2["eval_loss"] == pytest.approx(ddp["eval_loss"], abs=TOLERANCE)


@pytest.mark.distributed
def test_a_head_starts_on_its_labels_scale(runs):
    labels = torch.tensor([row["labels"] for row in rows("sts-b", ROWS["sts-b"], seed=1)])
    for run in runs.values():
        assert run["epochs"][0]["theta0"]["tasks.sts-b.classifier.bias"].item() == pytest.approx(labels.mean().item())


@pytest.mark.distributed
def test_idle_heads_keep_their_bits(runs):
    """A head whose task takes no step has a δ of exactly 0, even with weight decay."""
    for epoch in runs["fsdp2"]["epochs"]:
        for task, delta in epoch["delta"].items():
            moved = {name.split(".")[1] for name, tensor in delta.items() if "tasks." in name and tensor.any()}
            assert moved == {task}


@pytest.mark.slow
@pytest.mark.distributed
def test_mixed_precision_is_that_of_ddp(tmp_path):
    """Training is in bf16 with gradient checkpointing, shards are float32, and α is fitted on float32 losses."""
    full = {"output_dir": str(tmp_path / "exact"), "num_train_epochs": 1}
    settings = full | {"output_dir": str(tmp_path / "mixed"), "bf16": True, "gradient_checkpointing": True}
    exact, mixed = fork_runs(run_bert, [full, settings], "fsdp2", 2)
    (ddp,) = fork_runs(run_bert, [settings], "ddp", 2)
    assert {tensor.dtype for tensor in mixed["state"].values()} == {torch.float32}
    for mine, theirs, full in zip(mixed["epochs"], ddp["epochs"], exact["epochs"], strict=True):
        difference = {name: (mine["theta"][name] - theirs["theta"][name]).abs().max() for name in mine["theta"]}
        # Adam turns the last bit of a gradient near 0 into a step: bounded by some steps' size, small in the mean.
        assert max(difference.values()) < 0.01
        assert not torch.equal(
            mine["delta"]["rte"]["encoder.pooler.dense.weight"], full["delta"]["rte"]["encoder.pooler.dense.weight"]
        )
    for entry in mixed["history"]:
        assert any(torch.tensor(loss).bfloat16().item() != loss for loss in entry["meta_loss"])
        assert entry["meta_loss"] == pytest.approx(ddp["history"][0]["meta_loss"], abs=2e-3)


@pytest.mark.distributed
def test_saved_models_are_complete(runs):
    run = runs["fsdp2"]
    model = MultitaskModel.from_pretrained(run["folder"])
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, run["state"][name]), name
    batch = rows("rte", 16, seed=2)
    inputs = {name: torch.tensor([row[name] for row in batch]) for name in batch[0]}
    exported = AutoModelForSequenceClassification.from_pretrained(run["folder"] / "export")
    with torch.no_grad():
        assert model(task="rte", **inputs).loss.item() == pytest.approx(run["eval_loss"], abs=TOLERANCE)
        assert exported(**inputs).loss.item() == pytest.approx(run["eval_loss"], abs=TOLERANCE)


@pytest.mark.distributed
def test_a_checkpoint_holds_the_last_merged_model(runs, tmp_path):
    """The model is saved in FSDP's format, and does not depend on the phase in which the checkpoint was written."""
    run = runs["fsdp2"]
    steps_per_plan = 3 + 2 + 2
    for step in (3, 6, 9, 12):
        checkpoint = run["folder"] / f"checkpoint-{step}"
        assert not list(checkpoint.glob("model*.safetensors"))
        dcp_to_torch_save(checkpoint / "pytorch_model_fsdp_0", tmp_path / "model.pt")
        saved = torch.load(tmp_path / "model.pt", weights_only=False)["model"]
        expected = run["epochs"][step // steps_per_plan]["theta0"]
        assert expected.keys() <= saved.keys()
        for name, tensor in expected.items():
            assert torch.equal(saved[name], tensor), (step, name)


@pytest.mark.distributed
def test_losses_and_metrics_are_looked_at_before_training(tmp_path):
    """On a sharded model too, and without a trace."""
    cases = {
        "looks": {},
        "does not look": {"looks": False},
        "the loss of task 'sts-b' reaches no trainable parameter": {"frozen": ["encoder", "tasks.sts-b"]},
        "`compute_metrics` of 'rte' gives no such metric: pass one of eval_rte_accuracy": {"metric": "f1"},
    }
    runs = [{"output_dir": str(tmp_path / str(i)), **case} for i, case in enumerate(cases.values())]
    looks, does_not_look, *refused = fork_runs(checked_run, runs, "fsdp2", 2)
    assert looks == does_not_look
    assert all(error is None and steps == 7 for error, steps, _ in looks)
    for message, ranks in zip(list(cases)[2:], refused, strict=True):
        assert all(message in str(error) and steps == 0 for error, steps, _ in ranks), (message, ranks)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("FSDP_VERSION", "1", "FSDP1 is not supported.*--fsdp_version 2"),
        ("FSDP_OFFLOAD_PARAMS", "true", "fsdp_offload_params is not supported: turn it off"),
        ("FSDP_CPU_RAM_EFFICIENT_LOADING", "true", "fsdp_cpu_ram_efficient_loading is not supported"),
        ("FSDP_IGNORED_MODULES", "tasks.*", "fsdp_ignored_modules is not supported"),
        ("ACCELERATE_MIXED_PRECISION", "fp16", "mixed_precision fp16 is not supported"),
        ("ACCELERATE_DYNAMO_BACKEND", "INDUCTOR", "torch_compile.* is not supported"),
    ],
)
def test_unsupported_sharding_is_refused(variable, value, message, monkeypatch):
    """`accelerate launch` sets these environment variables, and accelerate's plugins read them."""

    def state():
        return SimpleNamespace(
            fsdp_plugin=FullyShardedDataParallelPlugin(),
            dynamo_plugin=TorchDynamoPlugin(),
            parallelism_config=None,
            mixed_precision=os.environ["ACCELERATE_MIXED_PRECISION"],
        )

    monkeypatch.setenv("FSDP_VERSION", "2")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    monkeypatch.setenv("FSDP_CPU_RAM_EFFICIENT_LOADING", "false")
    check_sharding(state())
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValueError, match=message):
        check_sharding(state())


def test_evaluation_without_training():
    with pytest.raises(ValueError, match=r"after `train\(\)`.*configs/ddp.yaml"):
        check_evaluation(SimpleNamespace(is_fsdp2=True), torch.nn.Linear(1, 1))
    check_evaluation(SimpleNamespace(is_fsdp2=False), torch.nn.Linear(1, 1))


def test_heads_tied_to_the_embeddings():
    encoder = BertConfig(vocab_size=9, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4)
    tasks = {"a": {"kind": "regression"}, "prose": {"kind": "masked_lm"}}
    model = MultitaskModel(MultitaskConfig(encoder=encoder, tasks=tasks))
    with pytest.raises(ValueError, match=r"tasks.prose.cls.predictions.decoder.weight is the weight of the input"):
        check_tied_weights(SimpleNamespace(is_fsdp2=True), model)
    check_tied_weights(SimpleNamespace(is_fsdp2=False), model)
    del tasks["prose"]
    check_tied_weights(SimpleNamespace(is_fsdp2=True), MultitaskModel(MultitaskConfig(encoder=encoder, tasks=tasks)))


def test_shards_of_another_number_of_processes(tmp_path):
    save_run_state(tmp_path, {"theta/w": torch.zeros(3)}, {}, shard=(1, 2))
    assert not (tmp_path / STATE_NAME).exists()
    save_run_state(tmp_path, {"theta/w": torch.ones(3)}, {}, shard=(0, 2))
    assert (tmp_path / STATE_NAME).exists()
    assert torch.equal(load_run_tensors(tmp_path, shard=(1, 2))["theta/w"], torch.zeros(3))
    for shard in (None, (0, 4)):
        with pytest.raises(ValueError, match=r"00001-of-00002.*same --num_processes"):
            load_run_tensors(tmp_path, shard)
