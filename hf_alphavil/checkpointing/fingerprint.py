"""The fingerprint of a run: the settings, rows and parts of the model on which its result depends."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from torch import nn

from ..data import TaskDataset
from ..data.content_hash import content_hash
from ..methods import METHODS
from ..methods.options import read_options
from .model_description import as_json, describe_details, describe_model
from .resume_rules import CHANGES_WITH_WARNING, MUST_MATCH

if TYPE_CHECKING:
    from ..settings import MultitaskSettings
    from ..setup.task_setup import TaskSetup


def run_fingerprint(
    args: MultitaskSettings, setup: TaskSetup, model: nn.Module, tokenizer: Any
) -> dict[str, dict[str, Any]]:
    """
    Describes the settings, rows and parts of the model on which a run's result depends.

    Args:
        args (`MultitaskSettings`): The settings.
        setup (`TaskSetup`): The tasks and their rows.
        model (`torch.nn.Module`): The model that is trained, without wrappers for distributed training.
        tokenizer (`Any`): The tokenizer, if there is one.

    Returns:
        `dict`: `settings`, `rows`, `model`, and `other`, which may change with a warning. Ready for JSON.
    """
    return {
        "settings": settings_fingerprint(args),
        "rows": _rows(setup),
        "model": dict(describe_model(model)),
        "other": {"number of processes": args.world_size}
        | dict(describe_details(model, tokenizer))
        | {f"validation rows of {name}": _describe_rows(rows) for name, rows in setup.eval_datasets.items()}
        | {f"head that scores {name}": rows.task for name, rows in setup.eval_datasets.items() if rows.task != name},
    }


def settings_fingerprint(args: MultitaskSettings) -> dict[str, Any]:
    """
    The settings that a resumed run is compared by. Secrets, such as `hub_token`, are not among them.

    Args:
        args (`MultitaskSettings`): The settings.
    """
    compared = MUST_MATCH | CHANGES_WITH_WARNING
    settings = {entry.name: as_json(getattr(args, entry.name)) for entry in fields(args) if entry.name in compared}
    options = read_options(METHODS[args.method].Options, args.method_kwargs, args.method)
    # Written differently, they are the same.
    return settings | {
        "data_seed": args.resolved_data_seed,
        "method_kwargs": as_json(asdict(options)),
        "normalize_task_weights": args.resolved_normalize_task_weights,
    }


def _rows(setup: TaskSetup) -> dict[str, Any]:
    rows: dict[str, Any] = {"tasks in order": list(setup.train_datasets)}
    rows |= {f"training rows of {name}": _describe_rows(rows) for name, rows in setup.train_datasets.items()}
    if setup.meta_set is not None:
        rows["rows of the meta set"] = _describe_rows(setup.meta_set)
    # Weights are loaded by name, so other labels would silently take over the checkpoint's outputs.
    rows |= {f"head of {name}": as_json(head) for name, head in setup.heads.items()}
    masked = {name: task for name, task in setup.tasks.items() if name in setup.train_datasets}
    return rows | {f"mlm_probability of {name}": task.mlm_probability for name, task in masked.items()}


def _describe_rows(dataset: TaskDataset) -> str:
    content = content_hash(dataset.dataset)
    return f"{len(dataset)} rows" + (f" (content {content[:12]})" if content is not None else "")
