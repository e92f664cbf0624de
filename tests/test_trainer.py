"""What a user of MultitaskTrainer sees: names of scores, the best model, stopping, other methods, own modules."""

import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback

from hf_alphavil import MultitaskModel, MultitaskTrainer
from hf_alphavil.run.progress import PlanProgressCallback, alpha_progress
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


def accuracy(prediction):
    return {"accuracy": float(np.mean(prediction.predictions.argmax(-1) == prediction.label_ids))}


def evaluating_trainer(tmp_path, callbacks=None, compute_metrics=accuracy, **settings):
    train, meta = toy_data()
    return RecordingTrainer(
        model=toy_model(),
        args=toy_args(tmp_path, **settings),
        train_dataset=train,
        eval_dataset={TARGET: meta, "b": train["b"]},
        compute_metrics=compute_metrics,
        callbacks=callbacks,
    )


class StopAt(TrainerCallback):
    """Asks for a stop, or for an evaluation, at one step."""

    def __init__(self, step, flag="should_training_stop"):
        self.step, self.flag = step, flag

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            setattr(control, self.flag, True)


# ---- Evaluation


def test_scores_are_named_by_task(tmp_path):
    trainer = evaluating_trainer(tmp_path, compute_metrics={TARGET: accuracy})
    target = trainer.evaluate()
    assert {"eval_a_loss", "eval_a_accuracy"} <= set(target)
    assert "eval_b_loss" not in target
    auxiliary = trainer.evaluate("b")
    assert "eval_b_loss" in auxiliary
    assert "eval_b_accuracy" not in auxiliary  # no function was given for it
    both = trainer.evaluate(trainer.eval_dataset)
    assert both["eval_a_accuracy"] == target["eval_a_accuracy"]
    assert both["eval_b_loss"] == auxiliary["eval_b_loss"]
    _, meta = toy_data()
    assert trainer.evaluate(meta, metric_key_prefix="fresh")["fresh_a_loss"] == target["eval_a_loss"]


def test_scores_are_right(tmp_path):
    """Loss and accuracy of the untrained toy, against the model called directly."""
    trainer = evaluating_trainer(tmp_path)
    _, meta = toy_data()
    model = toy_model()
    logits = torch.stack([model(TARGET, row["x"][None])["logits"][0] for row in meta])
    labels = torch.stack([torch.as_tensor(row["labels"]) for row in meta])
    scores = trainer.evaluate()
    assert scores["eval_a_accuracy"] == pytest.approx((logits.argmax(-1) == labels).double().mean().item())
    assert scores["eval_a_loss"] == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), abs=1e-6)
    predicted = trainer.predict(meta)
    np.testing.assert_allclose(predicted.predictions, logits.detach().numpy(), atol=1e-12)
    assert "test_a_accuracy" in predicted.metrics


def test_auxiliaries_are_evaluated_when_asked_for(tmp_path):
    trainer = evaluating_trainer(
        tmp_path, logging_strategy="epoch", eval_auxiliaries=True, eval_strategy="epoch", num_train_epochs=1
    )
    trainer.train()
    logged = set().union(*trainer.state.log_history)
    assert {"eval_a_accuracy", "eval_b_accuracy", "loss_a", "loss_b", "loss_c", "alpha_b", "weight_b"} <= logged


def test_persistent_workers_keep_tasks_apart(tmp_path):
    settings = {"dataloader_num_workers": 1, "dataloader_persistent_workers": True}
    with_workers = evaluating_trainer(tmp_path, **settings)
    without = evaluating_trainer(tmp_path)
    train, _ = toy_data()
    for name in (TARGET, "b"):
        assert with_workers.evaluate(name)[f"eval_{name}_loss"] == without.evaluate(name)[f"eval_{name}_loss"]
    given = {"b": train["b"], "c": train["c"]}
    assert with_workers.evaluate(given)["eval_c_loss"] == without.evaluate({"c": train["c"]})["eval_c_loss"]


# ---- The best model


@pytest.mark.parametrize(
    ("given", "resolved", "greater"),
    [
        (None, "eval_a_loss", False),
        ("loss", "eval_a_loss", False),
        ("accuracy", "eval_a_accuracy", True),
        ("eval_accuracy", "eval_a_accuracy", True),
        ("eval_a_accuracy", "eval_a_accuracy", True),
        ("eval_b_loss", "eval_b_loss", False),
    ],
)
def test_metric_for_best_model(given, resolved, greater, tmp_path):
    trainer = evaluating_trainer(tmp_path, metric_for_best_model=given)
    assert (trainer.args.metric_for_best_model, trainer.args.greater_is_better) == (resolved, greater)


def test_best_model_is_loaded_at_the_end(tmp_path):
    trainer = evaluating_trainer(
        tmp_path,
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        learning_rate=1.0,
        num_train_epochs=6,
    )
    trainer.train()
    losses = [entry["eval_a_loss"] for entry in trainer.state.log_history if "eval_a_loss" in entry]
    assert losses.index(min(losses)) != len(losses) - 1, "the last model is the best: the test would show nothing"
    assert trainer.state.best_metric == min(losses)
    assert trainer.evaluate()["eval_a_loss"] == min(losses)
    best = load_file(f"{trainer.state.best_model_checkpoint}/model.safetensors")
    for name, parameter in trainer.model.named_parameters():
        assert torch.equal(parameter, best[name])


def test_early_stopping(tmp_path):
    trainer = evaluating_trainer(
        tmp_path,
        callbacks=[EarlyStoppingCallback(1)],
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        learning_rate=1.5,
        num_train_epochs=6,
    )
    trainer.train()
    assert 2 <= len(trainer.history) < 6
    assert trainer.evaluate()["eval_a_loss"] == trainer.state.best_metric


# ---- Inside a plan


def test_evaluation_inside_a_plan_is_deferred_to_its_end(tmp_path, caplog):
    trainer = evaluating_trainer(
        tmp_path,
        eval_strategy="steps",
        eval_steps=4,
        save_strategy="steps",
        save_steps=4,
        load_best_model_at_end=True,
        num_train_epochs=2,
    )
    trainer.train()
    steps = trainer.runner.plan.nominal_steps
    evaluated = [entry["step"] for entry in trainer.state.log_history if "eval_a_loss" in entry]
    assert evaluated == [steps, 2 * steps]
    assert caplog.text.count("An evaluation was due inside an epoch's plan") == 1
    # Best-model choice needs a checkpoint where it evaluates.
    assert trainer.state.best_model_checkpoint.endswith((f"-{steps}", f"-{2 * steps}"))


def test_direct_evaluation_inside_a_plan_uses_merged_parameters(tmp_path):
    seen = []

    class Evaluate(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if not state.global_step % 5:
                running = trainer.model.encoder[0].weight.clone()
                seen.append(trainer.evaluate()["eval_a_loss"])
                assert torch.equal(running, trainer.model.encoder[0].weight)

    trainer = evaluating_trainer(tmp_path, callbacks=[Evaluate()], num_train_epochs=1)
    before = trainer.evaluate()["eval_a_loss"]
    trainer.train()
    assert seen[:2] == [before, before]


def test_a_run_stopped_inside_a_plan_leaves_the_merged_model_and_resumes(tmp_path):
    whole = run_toy(tmp_path / "whole", num_train_epochs=2)
    settings = {"num_train_epochs": 2, "save_strategy": "steps", "save_steps": 1000}
    steps_per_plan = 15
    stopped = toy_trainer(tmp_path / "stopped", callbacks=[StopAt(steps_per_plan + 7)], **settings)
    stopped.train()
    assert len(stopped.history) == 1
    assert stopped.saved_steps == [steps_per_plan + 7]  # once, though Trainer asks at the epoch's end too
    for name, parameter in stopped.model.named_parameters():
        assert torch.equal(parameter, whole["epochs"][0]["theta"][name])
    resumed = run_toy(
        tmp_path / "resumed",
        resume_from_checkpoint=str(tmp_path / "stopped" / f"checkpoint-{steps_per_plan + 7}"),
        **settings,
    )
    assert resumed["history"] == whole["history"]
    for name, tensor in whole["state"].items():
        assert torch.equal(tensor, resumed["state"][name])


def test_an_error_inside_a_plan_leaves_the_merged_model(tmp_path):
    class Break(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 8:
                raise KeyboardInterrupt

    trainer = toy_trainer(tmp_path, callbacks=[Break()])
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    for mine, untouched in zip(trainer.model.parameters(), toy_model().parameters(), strict=True):
        assert torch.equal(mine, untouched)


@pytest.mark.parametrize("settings", [{"max_steps": 20}, {"num_train_epochs": 1.3}])
def test_runs_are_rounded_up_to_whole_plans(settings, tmp_path, caplog):
    trainer = toy_trainer(tmp_path, **settings)
    trainer.train()
    assert trainer.state.global_step == 30
    assert len(trainer.history) == 2
    assert "the run is rounded up to 2 epochs of 30 steps" in caplog.text
    assert trainer.state.epoch == pytest.approx(2.0)


def test_a_plan_is_run_to_its_end(tmp_path, caplog):
    whole = run_toy(tmp_path / "whole", num_train_epochs=2)
    asked = toy_trainer(tmp_path, callbacks=[StopAt(step, "should_epoch_stop") for step in (7, 8)], num_train_epochs=2)
    asked.train()
    assert asked.history == whole["history"]
    assert caplog.text.count("A callback asked to end the epoch inside its plan") == 1


def test_no_checkpoint_is_a_start(tmp_path):
    trainer = toy_trainer(tmp_path, num_train_epochs=1, eval_on_start=True)
    trainer.train(resume_from_checkpoint=False)
    assert [entry["step"] for entry in trainer.state.log_history if "eval_a_loss" in entry] == [0]


def test_a_second_training_starts_from_scratch(tmp_path):
    trainer = toy_trainer(tmp_path, num_train_epochs=1)
    trainer.train()
    first = trainer.history
    trainer.train()
    assert len(trainer.history) == 1
    assert trainer.history != first


def test_settings_of_a_step_act_on_the_next_training(tmp_path):
    trainer = toy_trainer(tmp_path, num_train_epochs=1)
    trainer.train()
    trainer.args.learning_rate, trainer.args.per_device_train_batch_size = 0.0, 4
    trained = [parameter.clone() for parameter in trainer.model.parameters()]
    trainer.train()
    assert trainer.state.global_step == sum(-(-size // 4) for size in SIZES.values())
    assert all(map(torch.equal, trained, trainer.model.parameters()))


def loss_per_item(outputs, labels, num_items_in_batch):
    return torch.nn.functional.cross_entropy(outputs["logits"], labels, reduction="sum") / num_items_in_batch


class ScaledLossTrainer(RecordingTrainer):
    loss_is_scaled_for_ga = True

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        outputs = model(**inputs)
        count = len(inputs["labels"]) if num_items_in_batch is None else num_items_in_batch
        loss = loss_per_item(outputs, inputs["labels"], count)
        return (loss, outputs) if return_outputs else loss


@pytest.mark.parametrize(
    "own",
    [
        pytest.param(
            {"trainer_class": ScaledLossTrainer},
            id="subclass",
            marks=pytest.mark.skipif(
                not hasattr(Trainer, "loss_is_scaled_for_ga"), reason="this Trainer does not know scaled losses"
            ),
        ),
        pytest.param({}, id="function"),
    ],
)
def test_a_loss_of_ones_own_gets_the_number_of_items(own, tmp_path):
    settings = {"num_train_epochs": 1, "gradient_accumulation_steps": 2}
    trainer = toy_trainer(tmp_path, **own, **settings)
    if not own:
        trainer.compute_loss_func = loss_per_item
    trainer.train()
    for name, tensor in run_toy(tmp_path, **settings)["state"].items():
        torch.testing.assert_close(trainer.model.state_dict()[name], tensor)


def test_progress_bar_names_phase_and_alpha_step(tmp_path):
    shown = []

    class Recorder(PlanProgressCallback):
        def show(self, text):
            shown.append(text)

    trainer = toy_trainer(tmp_path, num_train_epochs=1, disable_tqdm=False)
    callbacks = trainer.callback_handler.callbacks
    (i,) = [i for i, callback in enumerate(callbacks) if isinstance(callback, PlanProgressCallback)]
    callbacks[i] = Recorder()
    trainer.train()
    assert shown[:2] == ["a 1/5", "a 2/5"]
    assert shown[-5:] == [f"α {step}/5" for step in range(1, 6)]


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({"alphavil_preset": "joint"}, "α 2"),
        ({"alpha_optimizer": "lbfgs"}, "α 2"),
        ({"alpha_tolerance": 0.1}, "α 2"),
        ({"alpha_optimizer": "gradient_free"}, "α 2/5"),
    ],
)
def test_the_last_alpha_step_is_shown_where_it_is_known(tmp_path, settings, shown):
    assert alpha_progress(toy_args(tmp_path, **settings), 2) == shown


# ---- What α is fitted on


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
