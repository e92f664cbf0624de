"""Refuses parts that a trainer got after it was made, and warns of Trainer's methods that nothing calls."""

from __future__ import annotations

import logging
from typing import Any

from transformers import Trainer

from .task_setup import TaskSetup

logger = logging.getLogger(__name__)

#: Methods of Trainer that users override, and that only its own training loader calls.
UNCALLED = ("_get_train_sampler", "_remove_unused_columns", "_set_signature_columns_if_needed")


def check_train_dataset(train_dataset: Any, setup: TaskSetup) -> None:
    """
    Refuses training rows that were assigned to the trainer.

    Args:
        train_dataset (`Any`): `trainer.train_dataset`.
        setup (`TaskSetup`): The tasks, whose rows a run trains on.

    Raises:
        ValueError: If `train_dataset` is not what the trainer has made of these rows.
    """
    mine, theirs = list(setup.train_datasets.values()), getattr(train_dataset, "datasets", [])
    if len(mine) != len(theirs) or any(one is not other for one, other in zip(mine, theirs, strict=True)):
        raise ValueError(
            "`trainer.train_dataset` was set after the trainer was made, but runs train on the rows from which plans "
            "and held-out rows were made: make a new MultitaskTrainer with the new rows"
        )


def check_compute_metrics(compute_metrics: Any) -> None:
    """
    Refuses a metric that was assigned to the trainer.

    Args:
        compute_metrics (`Any`): `trainer.compute_metrics`, outside evaluations.

    Raises:
        ValueError: If there is one.
    """
    if compute_metrics is not None:
        raise ValueError(
            "`trainer.compute_metrics` was set after the trainer was made, but every task has its own metrics: pass "
            "`compute_metrics` to MultitaskTrainer, as one function or as functions by task"
        )


def warn_of_uncalled_methods(trainer_class: type[Trainer]) -> None:
    """
    Warns of overridden methods that Trainer calls, and a run of several tasks does not.

    Args:
        trainer_class (`type[Trainer]`): The class of the trainer.
    """
    if own := [name for name in UNCALLED if getattr(trainer_class, name) is not getattr(Trainer, name)]:
        logger.warning(
            "%s overrides %s, which has no effect with several tasks: the method's plan chooses the rows of every "
            "batch, and `remove_unused_columns=False` keeps all columns.",
            trainer_class.__name__, ", ".join(own),
        )  # fmt: skip
