"""Optimizer state of every phase's own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from transformers.optimization import Adafactor

from ..distributed.fsdp import local_tensor, sharded_like

#: Optimizers that build their state lazily and keep all of it in `Optimizer.state`, so that it can be swapped.
SWAPPABLE: tuple[type[Optimizer], ...] = (
    torch.optim.SGD,
    torch.optim.Adam,
    torch.optim.AdamW,
    torch.optim.Adamax,
    torch.optim.NAdam,
    torch.optim.RAdam,
    torch.optim.RMSprop,
    torch.optim.Adadelta,
    Adafactor,
)

#: The name of the copy of a phase's start in a checkpoint; task names hold no parentheses.
_AT_START = "(start)"


class PerPhaseOptimizerState:
    """
    Swaps the state of an optimizer between phases, so that no task's momentum moves another's parameters.

    Swapping exchanges references. Every slot costs the memory of one optimizer state, and so does the copy of the
    running phase's start, to which a phase that diverged is rolled back.

    Args:
        optimizer (`torch.optim.Optimizer`): The bare optimizer (not accelerate's wrapper).
        keep (`bool`): `True` keeps every slot's state over the epochs, `False` starts each phase without state.
        rolls_back (`bool`, *optional*, defaults to `True`): Whether a copy of each phase's start is kept at all.

    Raises:
        ValueError: If the optimizer keeps state that cannot be swapped.
    """

    def __init__(self, optimizer: Optimizer, keep: bool, rolls_back: bool = True) -> None:
        if type(optimizer) not in SWAPPABLE:
            raise ValueError(
                f"methods of several phases give each optimizer state of its own, which {type(optimizer).__name__} "
                f"does not support: choose an `optim` that is one of {', '.join(cls.__name__ for cls in SWAPPABLE)} "
                "(for example `optim='adamw_torch'`)"
            )
        self.optimizer = optimizer
        self.keep = keep
        self.rolls_back = rolls_back
        self.active: str | None = None
        self._slots: dict[str, defaultdict[Tensor, Any]] = {}
        self._at_start: defaultdict[Tensor, Any] | None = None

    def begin_phase(self, slot: str) -> None:
        """Makes the state of `slot` the optimizer's state, its own from before or none, and keeps a copy of it."""
        if not self.keep:
            self.optimizer.state = defaultdict(dict)
        elif slot != self.active:
            if self.active is not None:
                self._slots[self.active] = self.optimizer.state
            self.optimizer.state = self._slots.pop(slot, defaultdict(dict))
        self.active = slot
        self._at_start = _copy(self.optimizer.state) if self.rolls_back else None

    def end_phase(self, roll_back: bool = False, forget: bool = False) -> None:
        """
        Drops the copy of the phase's start.

        Args:
            roll_back (`bool`, *optional*, defaults to `False`): Whether the optimizer's state becomes that copy again.
            forget (`bool`, *optional*, defaults to `False`): Whether the slot is not needed again: it is then freed.
        """
        if roll_back and self._at_start is not None:
            self.optimizer.state = self._at_start
        self._at_start = None
        if forget:
            self.optimizer.state = defaultdict(dict)
            self.active = None

    def state_dict(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """
        The state of the slots that are not active, and the active one's at the start of a running phase. The active
        one itself is in the optimizer, hence in Trainer's own file.

        Returns:
            `tuple[dict[str, Tensor], dict]`: Tensors by `optimizer/<slot>/<parameter number>/<key>`, and what remains,
            ready for JSON.
        """
        tensors: dict[str, Tensor] = {}
        values: dict[str, dict[str, dict[str, Any]]] = {}
        active_state = self.optimizer.state
        for slot, state in self._stored().items():
            self.optimizer.state = state
            slot_tensors, values[slot] = optimizer_state(self.optimizer, f"optimizer/{slot}/")
            tensors.update(slot_tensors)
        self.optimizer.state = active_state
        return tensors, {"active": self.active, "values": values}

    def load_state_dict(self, tensors: Mapping[str, Tensor], rest: Mapping[str, Any]) -> None:
        """Inverse of [`state_dict`]; the active slot's state must already be in the optimizer."""
        active_state = self.optimizer.state
        self._slots = {}
        for slot, values in rest["values"].items():
            load_optimizer_state(self.optimizer, tensors, values, f"optimizer/{slot}/")
            self._slots[slot] = self.optimizer.state  # type: ignore[assignment]
        self._at_start = self._slots.pop(_AT_START, None)
        self.optimizer.state = active_state
        self.active = rest["active"]

    def _stored(self) -> dict[str, defaultdict[Tensor, Any]]:
        return self._slots if self._at_start is None else {**self._slots, _AT_START: self._at_start}


def _copy(state: Mapping[Tensor, Any]) -> defaultdict[Tensor, Any]:
    copied: defaultdict[Tensor, Any] = defaultdict(dict)
    for parameter, entries in state.items():
        copied[parameter] = {
            key: value.clone() if isinstance(value, Tensor) else value for key, value in entries.items()
        }
    return copied


def optimizer_state(optimizer: Optimizer, prefix: str) -> tuple[dict[str, Tensor], dict[str, dict[str, Any]]]:
    """
    The state that an optimizer keeps per parameter, ready for a checkpoint.

    Args:
        optimizer (`torch.optim.Optimizer`): The optimizer.
        prefix (`str`): Start of the tensors' names.

    Returns:
        `tuple[dict[str, Tensor], dict]`: Tensors by `<prefix><parameter number>/<key>` (of sharded parameters, this
        process's shards), and what remains, by parameter number, ready for JSON.
    """
    tensors: dict[str, Tensor] = {}
    values: dict[str, dict[str, Any]] = {}
    for number, entries in optimizer.state_dict()["state"].items():
        values[str(number)] = {}
        for key, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{prefix}{number}/{key}"] = local_tensor(value)
            else:
                values[str(number)][key] = value
    return tensors, values


def load_optimizer_state(
    optimizer: Optimizer, tensors: Mapping[str, Tensor], values: Mapping[str, Mapping[str, Any]], prefix: str
) -> None:
    """
    Inverse of [`optimizer_state`].

    Args:
        optimizer (`torch.optim.Optimizer`): The optimizer, over the parameters in the same order.
        tensors (`Mapping[str, Tensor]`): Tensors by name; those without the prefix are passed over.
        values (`Mapping`): What remains.
        prefix (`str`): Start of the tensors' names.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Any]] = {int(number): dict(entries) for number, entries in values.items()}
    for name, tensor in tensors.items():
        if name.startswith(prefix):
            number, key = name[len(prefix) :].split("/", 1)
            # A scalar, such as Adam's step, is never sharded.
            value = sharded_like(tensor, parameters[int(number)]) if tensor.dim() else tensor
            state[int(number)][key] = value
    # The optimizer's own loading knows which entries follow the parameter's device and dtype.
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
