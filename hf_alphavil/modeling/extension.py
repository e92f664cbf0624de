"""Makes a multitask model of an ordinary model with a head, whose modules it shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from ..kinds import KINDS
from .builder import base_of, meta_native, required_encoder
from .configuration import MultitaskConfig
from .half_precision import convert_inputs_of_heads
from .model import MultitaskModel

_OWN_MODEL = "build a model whose `forward` has a parameter `task`, and pass it to MultitaskTrainer"


def extend_native(native: PreTrainedModel, name: str, tasks: Any, problem_type: str | None = None) -> MultitaskModel:
    """
    Puts the heads of further tasks beside the head of an ordinary model.

    The multitask model shares encoder and head with `native`: training one trains the other.

    Args:
        native (`PreTrainedModel`): A model with a head, such as `BertForSequenceClassification`.
        name (`str`): The name of its task.
        tasks (`dict[str, Task | Dataset | DatasetDict | dict]`): The others, as for `from_encoder`.
        problem_type (`str`, *optional*): The head's problem type, if the model's configuration has none.

    Returns:
        `MultitaskModel`: The model, in the mode of `native`. The heads of `tasks` have random weights.

    Raises:
        ValueError: If `native` is not a class that an Auto class builds, or its modules are not those of its class.
    """
    base = base_of(native)
    config = MultitaskConfig(encoder=base.config, tasks={name: _head_of(native, base, problem_type), **dict(tasks)})
    config.name_or_path = native.name_or_path
    base_class, arguments = required_encoder(config)
    _check_modules(native, config, name)
    needs_pooler = arguments.get("add_pooling_layer") and getattr(base, "pooler", None) is None
    encoder = _with_pooler(base, base_class) if needs_pooler else base
    part: Any
    for part in (*encoder.modules(), *encoder.parameters(), *encoder.buffers()):
        part._is_hf_initialized = True  # else a layer that the user has replaced would get new weights
    model = MultitaskModel(config, encoder=encoder)
    _share(native, model.tasks[name], except_for=native.base_model_prefix)
    convert_inputs_of_heads(model)
    return model.train(native.training)


def _head_of(native: PreTrainedModel, base: PreTrainedModel, problem_type: str | None) -> dict[str, Any]:
    """The description of a model's head."""
    config: Any = native.config
    number = config.num_labels
    for kind in KINDS.values():
        try:
            is_its_class = kind.native_class(base.config) is type(native)
        except ValueError:
            continue
        if is_its_class and (kind.name == "regression" or not _is_regression(kind.name, number)):
            labels = [str(config.id2label[label]) for label in range(number)] if kind.has_classes else None
            known = config.problem_type or problem_type
            return {
                "kind": kind.name,
                "labels": labels,
                "problem_type": known if known in kind.problem_types else kind.problem_types[0],
            }
    raise ValueError(
        f"{type(native).__name__} is not a class that transformers' Auto classes build for sequence or token "
        f"classification, regression, multiple choice or masked language modelling: {_OWN_MODEL}"
    )


def _is_regression(kind: str, num_labels: int) -> bool:
    return kind == "sequence_classification" and num_labels == 1


def _check_modules(native: PreTrainedModel, config: MultitaskConfig, name: str) -> None:
    """Refuses a model whose weights are not those of its class: it could not be exported."""
    wanted = meta_native(type(native), config.task_config(name)).state_dict()
    found = native.state_dict()
    odd = sorted(wanted.keys() ^ found.keys())
    odd += sorted(key for key in wanted.keys() & found.keys() if wanted[key].shape != found[key].shape)
    if odd:
        raise ValueError(
            f"the model has other weights than a {type(native).__name__} of its configuration ({', '.join(odd[:3])}), "
            f"so it could not be exported as one: {_OWN_MODEL}"
        )


def _with_pooler(base: PreTrainedModel, base_class: type[PreTrainedModel]) -> PreTrainedModel:
    """An encoder with a new pooler, and with the other modules of one that has none."""
    encoder: Any = base_class(base.config, add_pooling_layer=True)  # type: ignore[call-arg]
    encoder.to(base.dtype).to(base.device)
    _share(base, encoder)
    return encoder.train(base.training)


def _share(source: nn.Module, destination: nn.Module, except_for: str | None = None) -> None:
    """Replaces the modules and parameters of a module by those of another."""
    children: Mapping[str, nn.Module] = dict(source.named_children())
    for name, child in children.items():
        if name != except_for:
            setattr(destination, name, child)
    for name, parameter in source.named_parameters(recurse=False):
        setattr(destination, name, parameter)
