"""Checks the names under which a user passes datasets, metrics and collators by task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..kinds.features import SPLITS, is_dataset
from ..modeling import MultitaskModel, unwrap_peft
from ..settings.suggestion import did_you_mean


def check_task_names(tasks: Iterable[str], train_dataset: Any, model: Any, **arguments: Any) -> None:
    """
    Checks that the trainer's arguments by task have only names of tasks: of `tasks`, of training rows or of heads.

    Args:
        tasks (`Iterable[str]`): The names in `tasks`.
        train_dataset (`Any`): The training rows. If they are a mapping, its keys are names.
        model (`torch.nn.Module`, *optional*): The model, which may have heads that this run does not train.
        arguments: The trainer's other arguments, such as `compute_metrics`. Those that are no mappings have no names.

    Raises:
        ValueError: If `train_dataset` has names of splits, or another argument has a name of no task.
    """
    named = train_dataset if isinstance(train_dataset, Mapping) else {}
    if is_dataset(named) and "train" in named and set(named) <= set(SPLITS):
        raise ValueError(
            f"train_dataset has the splits {', '.join(named)} instead of a dataset for each task: pass "
            "{'my_task': dataset}, with the task's name"
        )
    bare = unwrap_peft(model)
    heads = bare.config.tasks if isinstance(bare, MultitaskModel) else {}
    known = list(dict.fromkeys([*tasks, *named, *heads]))
    for argument, value in arguments.items():
        if isinstance(value, Mapping) and (unknown := [name for name in value if name not in known]):
            raise ValueError(
                f"{argument}: there is no task {unknown[0]!r}: pass names among {', '.join(known)}."
                + did_you_mean(unknown[0], known)
            )
