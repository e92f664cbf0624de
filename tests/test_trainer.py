"""What MultitaskTrainer trains on, and what the methods beside αVIL do."""

import math

import numpy as np
import pytest
import torch
from transformers import TrainerCallback

from hf_alphavil import MultitaskModel, MultitaskTrainer
from reference.straight_line import joint_counts, loss_of, seeded_permutation, sgd_step, take, task_gradient
from support.modeling_helpers import checkpoint_activations
from support.toy_run import (
    LABELS,
    SIZES,
    TARGET,
    RecordingTrainer,
    run_toy,
    toy_args,
    toy_data,
    toy_model,
    toy_trainer,
)


def test_held_out_rows_are_not_trained_on(tmp_path):
    train, meta = toy_data()
    args = toy_args(tmp_path, alpha_data="train_holdout", alpha_holdout_fraction=0.3, num_train_epochs=1)
    trainer = MultitaskTrainer(model=toy_model(), args=args, train_dataset=train, eval_dataset={TARGET: meta})
    assert len(trainer.meta_set) == round(0.3 * SIZES[TARGET])
    rows = {name: {tuple(row["x"].tolist()) for row in ds} for name, ds in trainer.train_datasets.items()}
    held_out = {tuple(row["x"].tolist()) for row in trainer.meta_set}
    assert not rows[TARGET] & held_out
    assert len(rows[TARGET] | held_out) == SIZES[TARGET]
    trainer.train()
    for method in ("single", "multitask"):
        args = toy_args(tmp_path, alpha_data="train_holdout", method=method)
        other = MultitaskTrainer(model=toy_model(), args=args, train_dataset=train)
        assert len(other.train_datasets[TARGET]) == SIZES[TARGET]
        assert other.meta_set is None


def test_alpha_on_the_training_rows(tmp_path):
    train, _ = toy_data()
    args = toy_args(tmp_path, alpha_data="train", num_train_epochs=1)
    trainer = MultitaskTrainer(model=toy_model(), args=args, train_dataset=train)
    trainer.train()
    assert len(trainer.meta_set) == len(trainer.train_datasets[TARGET]) == SIZES[TARGET]
    assert trainer.history[0]["alpha"][TARGET] != 1.0


# ---- The baselines


def test_multitask_is_a_plain_loop_over_the_mixture(tmp_path):
    """One joint phase by hand: the reference's draws and its SGD with momentum, a linear schedule."""
    run = run_toy(
        tmp_path, method="multitask", optim_args="momentum=0.9", num_train_epochs=2, logging_strategy="epoch"
    )
    train, _ = toy_data()
    model, rows_per_step = toy_model(), 8
    theta = {name: p.detach().clone() for name, p in model.named_parameters()}
    steps = {task: math.ceil(size / rows_per_step) for task, size in SIZES.items()}
    total, buffers = sum(steps.values()), {}
    mean_losses = []
    for epoch in range(2):
        losses = {task: [] for task in SIZES}
        counts = joint_counts(total, steps)
        assert counts == steps
        laid_out = [task for task in sorted(counts) for _ in range(counts[task])]
        rows = {task: seeded_permutation(SIZES[task], 42, epoch, task, "rows") for task in SIZES}
        taken = dict.fromkeys(SIZES, 0)
        for i, at in enumerate(seeded_permutation(total, 42, epoch, "joint")):
            task = laid_out[at]
            batch = [rows[task][(taken[task] + j) % SIZES[task]] for j in range(rows_per_step)]
            taken[task] += rows_per_step
            rate = 0.1 * (1 - (epoch * total + i) / (2 * total))
            batch = take(train[task], batch)
            losses[task].append(float(loss_of(model, theta, task, batch)))
            theta = sgd_step(theta, task_gradient(model, theta, task, batch), buffers, rate, 0.9, 0.0)
        mean_losses.append({f"loss_{task}": sum(values) / len(values) for task, values in losses.items()})
    for name, tensor in theta.items():
        torch.testing.assert_close(run["state"][name], tensor, rtol=0, atol=1e-6)
    assert [entry["alpha"] for entry in run["history"]] == [{}, {}]
    logged = [{key: entry[key] for key in mean_losses[0]} for entry in run["log_history"] if "loss_a" in entry]
    assert logged == [pytest.approx(losses, rel=1e-6) for losses in mean_losses]


def test_nothing_is_logged_where_logging_is_off(tmp_path):
    run = run_toy(tmp_path, logging_strategy="no", num_train_epochs=1)
    assert [set(entry) & {"loss_a", "alpha_a"} for entry in run["log_history"]] == [set()]


def test_single_trains_only_the_target(tmp_path):
    run = run_toy(tmp_path, method="single", num_train_epochs=1)
    untouched = toy_model().state_dict()
    for task in LABELS:
        moved = not torch.equal(run["state"][f"heads.{task}.weight"], untouched[f"heads.{task}.weight"])
        assert moved == (task == TARGET)


def test_only_a_steps_own_head_moves(tmp_path):
    """A head whose task does not step keeps its bits, weight decay included."""
    settings = {"optim": "adamw_torch", "weight_decay": 0.5, "method": "multitask", "max_phase_steps": 1}
    heads = []

    class Watch(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            heads.append({task: trainer.model.heads[task].weight.clone() for task in LABELS})

    trainer = toy_trainer(tmp_path, callbacks=[Watch()], **settings)
    before = {task: trainer.model.heads[task].weight.clone() for task in LABELS}
    trainer.train()
    for after in heads:
        assert sum(not torch.equal(before[task], after[task]) for task in LABELS) == 1
        before = after


def test_alpha_step_is_the_same_under_gradient_checkpointing(tmp_path):
    """Checkpointing layers recompute in the α step too, and dropout stays off: the same α, δ and θ."""
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16
    )
    torch.manual_seed(0)
    BertModel(config).save_pretrained(tmp_path / "bert")
    heads = {name: {"kind": "sequence_classification", "labels": ["x", "y"]} for name in ("a", "b")}
    generator = np.random.default_rng(0)
    rows = {
        name: [
            {"input_ids": generator.integers(0, 30, 6).tolist(), "attention_mask": [1] * 6, "labels": int(i % 2)}
            for i in range(24)
        ]
        for name in heads
    }

    def train(checkpointing):
        torch.manual_seed(0)
        model = MultitaskModel.from_encoder(tmp_path / "bert", tasks=heads)
        if checkpointing:
            checkpoint_activations(model)
        args = toy_args(tmp_path, num_train_epochs=1, alpha_data="train", max_grad_norm=1.0)
        trainer = RecordingTrainer(model=model, args=args, train_dataset=rows)
        trainer.train()
        return trainer

    plain, checkpointed = train(False), train(True)
    assert checkpointed.history[0]["alpha"] == pytest.approx(plain.history[0]["alpha"], rel=1e-4)
    assert checkpointed.history[0]["alpha"]["a"] != 1.0
    for name, tensor in plain.epochs[0]["theta"].items():
        torch.testing.assert_close(checkpointed.epochs[0]["theta"][name], tensor, rtol=1e-4, atol=1e-6)
