"""The fingerprint of a run: every setting, row and part of the model on which its result depends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

import torch
import xxhash
from torch import nn

from ..data import TaskDataset
from ..data.content_hash import content_hash
from ..methods import METHODS
from ..methods.options import read_options
from .resume_rules import CHANGES_WITH_WARNING, MUST_MATCH

if TYPE_CHECKING:
    from ..settings import MultitaskSettings
    from ..setup.task_setup import TaskSetup

#: Entries of a model's or an adapter's configuration that say where it came from or how it is run.
_NOT_COMPARED = frozenset(
    {
        "_name_or_path", "name_or_path", "base_model_name_or_path", "revision", "transformers_version", "peft_version",
        "architectures", "dtype", "torch_dtype", "use_cache", "inference_mode", "auto_mapping", "task_type",
        "_attn_implementation", "attn_implementation", "_experts_implementation", "experts_implementation",
    }
)  # fmt: skip


def run_fingerprint(args: MultitaskSettings, setup: TaskSetup, model: nn.Module) -> dict[str, dict[str, Any]]:
    """
    Describes everything on which a run's result depends.

    Functions are not compared, such as a `compute_metrics`, a collator or a learning-rate schedule of the user's own.

    Args:
        args (`MultitaskSettings`): The settings.
        setup (`TaskSetup`): The tasks and their rows.
        model (`torch.nn.Module`): The model that is trained, without wrappers for distributed training.

    Returns:
        `dict`: `settings`, `rows`, `model`, and `other`, which may change with a warning. Ready for JSON.
    """
    return {
        "settings": settings_fingerprint(args),
        "rows": _rows(setup),
        "model": dict(_model(model)),
        "other": {"number of processes": args.world_size}
        | {f"validation rows of {name}": _describe_rows(rows) for name, rows in setup.eval_datasets.items()},
    }


def settings_fingerprint(args: MultitaskSettings) -> dict[str, Any]:
    """
    The settings that a resumed run is compared by. Secrets, such as `hub_token`, are not among them.

    Args:
        args (`MultitaskSettings`): The settings.
    """
    compared = MUST_MATCH | CHANGES_WITH_WARNING
    settings = {entry.name: _plain(getattr(args, entry.name)) for entry in fields(args) if entry.name in compared}
    options = read_options(METHODS[args.method].Options, args.method_kwargs, args.method)
    # Written differently, they are the same.
    return settings | {
        "data_seed": args.resolved_data_seed,
        "method_kwargs": _plain(asdict(options)),
        "normalize_task_weights": args.normalizes_task_weights,
    }


def _rows(setup: TaskSetup) -> dict[str, Any]:
    rows: dict[str, Any] = {"tasks in order": list(setup.train_datasets)}
    rows |= {f"training rows of {name}": _describe_rows(rows) for name, rows in setup.train_datasets.items()}
    if setup.meta_set is not None:
        rows["rows of the meta set"] = _describe_rows(setup.meta_set)
    # Weights are loaded by name, so other labels would silently take over the checkpoint's outputs.
    rows |= {f"head of {name}": _plain(head) for name, head in setup.heads.items()}
    return rows | {f"mlm_probability of {name}": task.mlm_probability for name, task in setup.tasks.items()}


def _describe_rows(dataset: TaskDataset) -> str:
    content = content_hash(dataset.dataset)
    return f"{len(dataset)} rows" + (f" (content {content[:12]})" if content is not None else "")


def _model(model: nn.Module) -> Iterator[tuple[str, Any]]:
    yield (
        "parameters",
        [
            f"{name} {str(p.dtype).removeprefix('torch.')} {list(p.shape)}{'' if p.requires_grad else ' (frozen)'}"
            for name, p in model.named_parameters()
        ],
    )
    # Dropout, for example, has no parameters.
    yield (
        "modules",
        [f"{name}: {text}" for name, module in model.named_modules() if (text := _describe_module(module))],
    )
    config = getattr(model, "config", None)
    if config is not None and hasattr(config, "to_dict"):
        yield from _flat("the model's config: ", config.to_dict())
    adapters = getattr(model, "peft_config", None)
    yield "adapters", None if adapters is None else list(adapters)
    for name, adapter in (adapters or {}).items():
        yield from _flat(f"adapter {name}: ", adapter.to_dict())
    if adapters is not None:
        yield "frozen weights", _frozen_weights(model)


def _describe_module(module: nn.Module) -> str | None:
    """A module of torch in words. FSDP2 makes subclasses of modules."""
    of_torch = (one for one in type(module).__mro__ if one.__module__.startswith("torch.nn.modules"))
    kind = next(of_torch, None)
    if kind is None or kind is nn.Module or any(True for _ in module.children()):
        return None
    return f"{kind.__name__}({module.extra_repr()})"


def _frozen_weights(model: nn.Module) -> str:
    """A hash of the weights below adapters, which the checkpoint does not hold."""
    digest = xxhash.xxh3_128()
    for name, parameter in model.named_parameters():
        # What `modules_to_save` replaces is not used.
        if not parameter.requires_grad and ".original_module." not in name:
            digest.update(parameter.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:12]


def _flat(prefix: str, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if key in _NOT_COMPARED or key.endswith("_token_id"):
            continue
        if isinstance(value, Mapping):
            yield from _flat(f"{prefix}{key}.", {str(name): inner for name, inner in value.items()})
        else:
            yield f"{prefix}{key}", _plain(value)


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if hasattr(value, "to_dict"):
        value = value.to_dict()
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if hasattr(value, "value"):  # an enumeration
        return value.value
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
