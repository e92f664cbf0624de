"""Runs of multi-task steps: exact resume, refusals, NaN, and a model with native heads under DDP."""

import sys

import pytest
import torch
from transformers import TrainerCallback

from hf_alphavil import MultitaskTrainer
from hf_alphavil.methods import METHODS
from hf_alphavil.run.divergence import DivergenceError
from hf_alphavil.setup.checks import check_method, check_optimizer_steps, check_scaled_loss
from support.bert_run import HEADS, run_bert
from support.comparing import assert_same_run
from support.forking import fork_runs
from support.poisoned_run import Poison, PoisonedTrainer
from support.step_cases import CASES, REPRESENTED, settings_of
from support.toy_run import NOISY_RUN, TARGET, RecordingTrainer, run_toy, toy_args, toy_data, toy_model, toy_trainer

RESUMED = NOISY_RUN | {"num_train_epochs": 3, "max_phase_steps": 4}
STEPS = 3 * 4  # ⌈(4 + 4 + 3) / 3⌉ steps an epoch


class SaveAt(TrainerCallback):
    """Saves after the steps named."""

    def __init__(self, *steps):
        self.steps = steps

    def on_step_end(self, args, state, control, **kwargs):
        control.should_save = state.global_step in self.steps


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=[pytest.mark.slow] if case in (*REPRESENTED, "nashmtl") else []) for case in CASES],
)
def test_resume_to_the_last_bit(case, tmp_path):
    """Dropout, batch norm, AdamW and accumulation; resumed in mid-epoch and at an epoch's end."""
    settings = RESUMED | settings_of(case)
    steps = (2, 4)
    whole = run_toy(tmp_path / "whole", **settings, callbacks=[SaveAt(*steps)])
    assert whole["counted"]["global_step"] == STEPS
    for step in steps:
        resumed = run_toy(
            tmp_path / "resumed",
            resume_from_checkpoint=str(tmp_path / "whole" / f"checkpoint-{step}"),
            **settings,
        )
        assert_same_run(whole, resumed)
        assert torch.equal(whole["torch_rng"], resumed["torch_rng"])


@pytest.mark.slow
@pytest.mark.distributed
def test_native_heads_on_two_processes(tmp_path):
    """Two processes equal one for BERT; every head moves in every step, whatever the run accumulates."""
    settings = {"learning_rate": 0.05, "method": "pcgrad", "optim_args": "momentum=0.9"}
    variants = {
        "accumulation": {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2},
        "auto_lambda": {"method": "auto_lambda"},
        "checkpointing": {"activation_checkpointing": True, "num_train_epochs": 1},
    }
    runs = [{"output_dir": str(tmp_path / name), **settings | more} for name, more in variants.items()]
    for run in runs:
        run["per_device_train_batch_size"] = run.get("per_device_train_batch_size", 4) // 2
    for (name, more), two in zip(variants.items(), fork_runs(run_bert, runs, "ddp", 2), strict=True):
        one = run_bert(tmp_path / "one" / name, **settings | more)
        assert two["rank_checksum"][0] == two["rank_checksum"][1]
        for key, tensor in one["state"].items():
            torch.testing.assert_close(two["state"][key], tensor, rtol=0, atol=2e-5, msg=(name, key))
        assert all(moved == [True] * len(HEADS) for *_, everywhere in two["moved_heads"] for moved in everywhere)


@pytest.mark.parametrize(("method", "step"), [("pcgrad", 6), ("auxilearn", 6), ("famo", 0)])
def test_nan_stops_the_run(method, step, tmp_path):
    train, meta = toy_data()
    trainer = PoisonedTrainer(
        model=toy_model(),
        args=toy_args(tmp_path, method=method, method_kwargs={"interval": 2} if method == "auxilearn" else None),
        train_dataset=train,
        eval_dataset={TARGET: meta},
        callbacks=[Poison({step})],
    )
    # In the first step too, before a library has seen any loss.
    with pytest.raises(
        DivergenceError, match=rf"became NaN or infinite at step {step % 5 + 1} of epoch {step // 5 + 1}.*start anew"
    ):
        trainer.train()


def test_a_target_alone_is_refused(tmp_path):
    train, _ = toy_data()
    trainer = MultitaskTrainer(
        model=toy_model(), args=toy_args(tmp_path, method="gcs"), train_dataset={TARGET: train[TARGET]}
    )
    with pytest.raises(ValueError, match="method 'gcs' needs at least 1 auxiliary task, but the run has 0: add tasks"):
        trainer.train()


class Machine:
    is_fsdp2, mixed_precision = False, "no"


@pytest.mark.parametrize("method", ["tawt", "pcgrad", "auto_lambda"])
def test_methods_that_compare_gradients_refuse_fsdp2_and_fp16(method):
    check_method(Machine(), METHODS[method])
    sharded, scaled = Machine(), Machine()
    sharded.is_fsdp2, scaled.mixed_precision = True, "fp16"
    with pytest.raises(ValueError, match=f"{method!r} compares whole gradients.*configs/ddp.yaml"):
        check_method(sharded, METHODS[method])
    if method != "tawt":  # TAWT takes gradients in separate passes
        with pytest.raises(ValueError, match="pass bf16=True or neither"):
            check_method(scaled, METHODS[method])
    check_method(sharded, METHODS["alphavil"])


@pytest.mark.parametrize("optim", ["lomo", "galore_adamw_layerwise"])
def test_steps_inside_the_backward_pass_cannot_be_weighted(optim):
    for settings in ({"method": "pcgrad"}, {"method": "tawt"}, {"method": "multitask", "task_weights": {"b": 2.0}}):
        args = toy_args("unused", optim=optim, **settings)
        with pytest.raises(
            ValueError, match=f"optim=.*: pass one that steps after .*{args.method!r} weights the steps"
        ):
            check_optimizer_steps(args, METHODS[args.method])
    for method in ("single", "multitask"):
        check_optimizer_steps(toy_args("unused", optim=optim, method=method), METHODS[method])


def mean_loss(outputs, labels, num_items_in_batch=None):
    return torch.nn.functional.cross_entropy(outputs["logits"], labels)


def counting_loss(outputs, labels, num_items_in_batch):
    return torch.nn.functional.cross_entropy(outputs["logits"], labels, reduction="sum") / num_items_in_batch


@pytest.mark.parametrize("loss", [mean_loss, counting_loss])
def test_a_loss_function_is_not_scaled_by_the_accumulation_steps(loss, tmp_path):

    train, meta = toy_data()
    trainers = {
        steps: lambda steps=steps: RecordingTrainer(
            model=toy_model(),
            args=toy_args(tmp_path, method="pcgrad", gradient_accumulation_steps=steps),
            train_dataset=train,
            eval_dataset={TARGET: meta},
            compute_loss_func=loss,
        )
        for steps in (1, 2)
    }
    trainer = trainers[1]()
    trainer.train()
    plain = run_toy(tmp_path / "plain", method="pcgrad")
    for name, parameter in plain["state"].items():
        torch.testing.assert_close(trainer.model.state_dict()[name], parameter)
    with pytest.raises(ValueError, match="Pass gradient_accumulation_steps=1, or let the model compute its loss"):
        trainers[2]()
    args = toy_args(tmp_path, method="pcgrad", gradient_accumulation_steps=2)
    with pytest.raises(ValueError, match="loss_is_scaled_for_ga=True with method 'pcgrad' and gradient_accumulation"):
        check_scaled_loss(args, METHODS["pcgrad"], "loss_is_scaled_for_ga=True")


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchjd", None)
    with pytest.raises(
        ImportError, match=r"'cagrad' comes from the library torchjd, .*pip install 'hf_alphavil\[methods\]'"
    ):
        toy_args("unused", method="cagrad")
    toy_args("unused", method="gcs")


def test_refused_options():
    with pytest.raises(ValueError, match="interval=0: pass a positive number of steps"):
        toy_args("unused", method="arml", method_kwargs={"interval": 0})
    with pytest.raises(ValueError, match=r"'cagrad' has no option 'd'; it has c \(default 0.5\)"):
        toy_args("unused", method="cagrad", method_kwargs='{"d": 1}')
    with pytest.raises(ValueError, match=r"method_kwargs: .*tau.* \(of TorchJD's PCD\)"):
        toy_args("unused", method="pcd", method_kwargs={"tau": 2.0})
    assert toy_trainer("unused", method="pcd", method_kwargs={"tau": 0}).runner.method.options.tau == 0
