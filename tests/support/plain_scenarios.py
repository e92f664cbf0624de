"""What a user does with a plain Trainer: each function takes a `Side`, runs, and returns its trainer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader
from transformers import (
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    EvalPrediction,
    Trainer,
    default_data_collator,
)

from support.plain_harness import Side
from support.plain_toys import Line, Points, SentenceStream, bert, hub_dataset, sentences, tokenizer

SCENARIOS: dict[str, Callable[[Side], Trainer]] = {}


def scenario(run: Callable[[Side], Trainer]) -> Callable[[Side], Trainer]:
    """Registers a scenario under its function's name."""
    SCENARIOS[run.__name__] = run
    return run


def accuracy(prediction: EvalPrediction) -> dict[str, float]:
    """A metric, with the shapes that it was given."""
    logits, labels = prediction
    return {"accuracy": float((logits.argmax(-1) == labels).mean()), "rows": len(labels)}


def trained(side: Side, settings: dict[str, Any] | None = None, **kwargs: Any) -> Trainer:
    """Trains once; notes what `train()` returned."""
    trainer = side.trainer(settings, **kwargs)
    side.notes["output"] = tuple(trainer.train())
    return trainer


@scenario
def epochs(side: Side) -> Trainer:
    return trained(side)


@scenario
def line(side: Side) -> Trainer:
    settings = {"per_device_train_batch_size": 5, "eval_strategy": "epoch"}
    points = {"train_dataset": Points(), "eval_dataset": Points(9, seed=1)}
    return trained(side, settings, model=Line(), data_collator=default_data_collator, **points)


@scenario
def accumulation(side: Side) -> Trainer:
    """26 rows: 7 micro-batches, the last of 2 rows and alone in its window; stock does not divide BERT's loss."""
    settings = {"gradient_accumulation_steps": 3}
    trainer = trained(side, settings, train_dataset=sentences(26))
    assert trainer.model_accepts_loss_kwargs
    return trainer


@scenario
def dict_evaluation(side: Side) -> Trainer:
    settings = {
        "eval_strategy": "epoch", "save_strategy": "epoch", "save_total_limit": 2, "num_train_epochs": 4,
        "load_best_model_at_end": True, "metric_for_best_model": "eval_a_loss",
    }  # fmt: skip
    evaluated = {"a": sentences(9, seed=1), "b": sentences(6, seed=2)}
    trainer = trained(side, settings, eval_dataset=evaluated, compute_metrics=accuracy)
    side.notes["all"] = trainer.evaluate()
    side.notes["one"] = trainer.evaluate(evaluated["b"], metric_key_prefix="test")
    side.notes["other dict"] = trainer.evaluate({"c": sentences(5, seed=3)}, ["hidden_states"], "final")
    return trainer


@scenario
def label_smoothing(side: Side) -> Trainer:
    settings = {"label_smoothing_factor": 0.1, "eval_strategy": "epoch", "gradient_accumulation_steps": 2}
    return trained(side, settings, eval_dataset=sentences(9, seed=1))


@scenario
def group_by_length(side: Side) -> Trainer:
    return trained(side, {"train_sampling_strategy": "group_by_length"})


@scenario
def iterable(side: Side) -> Trainer:
    settings = {"max_steps": 7, "gradient_accumulation_steps": 2, "save_strategy": "steps", "save_steps": 3}
    return trained(side, settings, train_dataset=SentenceStream(18))


@scenario
def max_steps(side: Side) -> Trainer:
    return trained(side, {"max_steps": 8, "warmup_steps": 3, "lr_scheduler_type": "cosine"})


@scenario
def early_stopping(side: Side) -> Trainer:
    settings = {
        "eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps", "save_steps": 2, "num_train_epochs": 6,
        "load_best_model_at_end": True, "metric_for_best_model": "accuracy", "save_total_limit": 1,
    }  # fmt: skip
    stopping = [EarlyStoppingCallback(early_stopping_patience=2)]
    trainer = trained(side, settings, eval_dataset=sentences(9, seed=1), compute_metrics=accuracy, callbacks=stopping)
    assert trainer.state.global_step < trainer.state.max_steps
    return trainer


@scenario
def predict(side: Side) -> Trainer:
    trainer = side.trainer(compute_metrics=accuracy, train_dataset=None)
    rows = sentences(11, seed=4)
    unlabelled = [{name: row[name] for name in ("input_ids", "attention_mask")} for row in rows]
    side.notes["predicted"] = tuple(trainer.predict(rows))
    side.notes["prefix"] = tuple(trainer.predict(rows, None, "held_out"))
    trainer.data_collator = DataCollatorWithPadding(tokenizer())
    side.notes["unlabelled"] = tuple(trainer.predict(unlabelled))
    return trainer


@scenario
def ignored_outputs(side: Side) -> Trainer:
    """Model outputs that evaluation ignores, passed by position and by name."""
    model = bert()
    model.config.output_hidden_states = True

    def count(prediction: EvalPrediction) -> dict[str, int]:
        return {"outputs": len(prediction.predictions) if isinstance(prediction.predictions, tuple) else 0}

    rows = sentences(9, seed=1)
    trainer = side.trainer({"eval_strategy": "epoch"}, model=model, eval_dataset=rows, compute_metrics=count)
    trainer.train(None, None, ["hidden_states"])
    side.notes["all"], side.notes["logits"] = trainer.evaluate(), trainer.evaluate(ignore_keys=["hidden_states"])
    side.notes["predicted"] = tuple(trainer.predict(rows, ["hidden_states"]))
    assert [side.notes[name]["eval_outputs"] for name in ("all", "logits")] == [2, 0]
    return trainer


@scenario
def hub_data(side: Side) -> Trainer:
    """An unused text column, in a `datasets.Dataset` and in a list, and the tokenizer's default collator."""
    settings = {"eval_strategy": "epoch", "save_strategy": "epoch"}
    data = {"train_dataset": hub_dataset(22), "eval_dataset": list(hub_dataset(9, seed=1))}
    return trained(side, settings, processing_class=tokenizer(), compute_metrics=accuracy, **data)


@scenario
def train_twice(side: Side) -> Trainer:
    trainer = trained(side)
    side.notes["again"] = tuple(trainer.train())
    return trainer


@scenario
def model_init_twice(side: Side) -> Trainer:
    trainer = trained(side, model_init=lambda: bert())
    side.notes["again"] = tuple(trainer.train())
    return trainer


@scenario
def functions(side: Side) -> Trainer:
    """A loss function, an optimizer and a logits function of the user."""

    def loss_of(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
        return F.cross_entropy(outputs.logits, labels, reduction="sum") / (num_items_in_batch or len(labels))

    return trained(
        side,
        {"gradient_accumulation_steps": 2, "eval_strategy": "epoch"},
        compute_loss_func=loss_of,
        compute_metrics=lambda prediction: {"classes": prediction.predictions.tolist()},
        optimizer_cls_and_kwargs=(torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
        preprocess_logits_for_metrics=lambda logits, labels: logits.argmax(-1),
        eval_dataset=sentences(9, seed=1),
    )


@scenario
def own_optimizer(side: Side) -> Trainer:
    model = bert()
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.05)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.9**step)
    return trained(side, model=model, optimizers=(optimizer, scheduler))


@scenario
def own_subclass(side: Side) -> Trainer:
    """A user's subclass, with overrides that call super() and some that do not."""

    class Mine(side.trainer_class):  # type: ignore[name-defined]
        def get_train_dataloader(self) -> DataLoader:
            loader = super().get_train_dataloader()
            side.notes.setdefault("loaders", []).append((type(loader).__name__, len(loader)))
            return loader

        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
            loss, outputs = super().compute_loss(model, inputs, return_outputs=True, **kwargs)
            loss = loss + 0.01 * outputs.logits.square().mean()
            return (loss, outputs) if return_outputs else loss

        def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
            torch.rand(1)
            return super().training_step(*args, **kwargs)

        def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
            super().log(logs | {"mine": 1.0}, *args, **kwargs)

        def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
            side.notes.setdefault("evaluate", []).append((len(args), sorted(kwargs)))
            return super().evaluate(*args, **kwargs)

        def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
            side.notes.setdefault("saved", []).append((output_dir, _internal_call))
            super().save_model(output_dir, _internal_call)

    settings = {"eval_strategy": "epoch", "save_strategy": "epoch", "gradient_accumulation_steps": 2}
    evaluated = {"a": sentences(9, seed=1), "b": sentences(6, seed=2)}
    trainer = trained(side, settings, cls=Mine, eval_dataset=evaluated)
    trainer.save_model()
    return trainer


@scenario
def smaller_batches(side: Side) -> Trainer:
    """`auto_find_batch_size` enters the training loop a second time."""

    class OutOfMemory(side.trainer_class):  # type: ignore[name-defined]
        def training_step(self, model: Any, inputs: Any, *args: Any) -> torch.Tensor:
            if len(inputs["labels"]) > 3:
                raise RuntimeError("CUDA out of memory.")
            return super().training_step(model, inputs, *args)

    return trained(side, {"auto_find_batch_size": True}, cls=OutOfMemory)
