"""A separate optimizer state for every phase."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from transformers.optimization import Adafactor

from ..distributed.fsdp import local_tensor, sharded_like

#: Optimizers that create their state lazily and keep all of it in `Optimizer.state`, so that it can be swapped.
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

#: Key of the copy of the running phase's start in checkpoints. Task names have no parentheses.
_AT_START = "(start)"


class PerPhaseOptimizerState:
    """
    Swaps the state of an optimizer between phases, so that no task's momentum moves another task's parameters.

    Swapping only exchanges references. Every phase's state takes the memory of one optimizer state. So does the copy
    of the state at the running phase's start, to which a phase that diverged is rolled back.

    Args:
        optimizer (`torch.optim.Optimizer`): The bare optimizer (not accelerate's wrapper).
        names (`Sequence[str]`): Names of its parameters, by which checkpoints hold their states.
        keep (`bool`): `True` keeps every phase's state over the epochs, `False` starts each phase without state.
        rolls_back (`bool`, *optional*, defaults to `True`): Whether to keep a copy of the state at a phase's start.

    Raises:
        ValueError: If the optimizer keeps state that cannot be swapped.
    """

    def __init__(self, optimizer: Optimizer, names: Sequence[str], keep: bool, rolls_back: bool = True) -> None:
        if type(optimizer) not in SWAPPABLE:
            raise ValueError(
                f"methods with several phases give each phase its own optimizer state, which "
                f"{type(optimizer).__name__} does not support: choose an `optim` that is one of "
                f"{', '.join(cls.__name__ for cls in SWAPPABLE)} (for example `optim='adamw_torch'`)"
            )
        self.optimizer = optimizer
        self.names = list(names)
        self.keep = keep
        self.rolls_back = rolls_back
        self.active: str | None = None
        self._states: dict[str, defaultdict[Tensor, Any]] = {}
        self._at_start: defaultdict[Tensor, Any] | None = None

    def begin_phase(self, phase: str) -> None:
        """
        Loads a phase's state into the optimizer, and keeps a copy of it to roll back to.

        Args:
            phase (`str`): The phase's name. Its state is from an earlier epoch, or empty.
        """
        if not self.keep:
            self.optimizer.state = defaultdict(dict)
        elif phase != self.active:
            if self.active is not None:
                self._states[self.active] = self.optimizer.state
            self.optimizer.state = self._states.pop(phase, defaultdict(dict))
        self.active = phase
        self._at_start = _copy(self.optimizer.state) if self.rolls_back else None

    def end_phase(self, roll_back: bool = False, forget: bool = False) -> None:
        """
        Drops the copy of the state at the phase's start.

        Args:
            roll_back (`bool`, *optional*, defaults to `False`): Whether to restore the state from that copy first.
            forget (`bool`, *optional*, defaults to `False`): Whether to free the phase's state.
        """
        if roll_back and self._at_start is not None:
            self.optimizer.state = self._at_start
        self._at_start = None
        if forget:
            self.optimizer.state = defaultdict(dict)
            self.active = None

    def state_dict(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """
        The states of the phases that are not running, and the running phase's state at its start. The running phase's
        current state is in the optimizer, which Trainer saves.

        Returns:
            `tuple[dict[str, Tensor], dict]`: Tensors by `optimizer/<phase>/<parameter name>/<key>`, and the other
            values, JSON-serialisable.
        """
        tensors: dict[str, Tensor] = {}
        values: dict[str, dict[str, dict[str, Any]]] = {}
        active_state = self.optimizer.state
        for phase, state in self._stored().items():
            self.optimizer.state = state
            phase_tensors, values[phase] = optimizer_state(self.optimizer, self.names, f"optimizer/{phase}/")
            tensors.update(phase_tensors)
        self.optimizer.state = active_state
        return tensors, {"active": self.active, "values": values}

    def load_state_dict(self, tensors: Mapping[str, Tensor], rest: Mapping[str, Any]) -> None:
        """Inverse of [`state_dict`]; the running phase's state must already be in the optimizer."""
        active_state = self.optimizer.state
        self._states = {}
        for phase, values in rest["values"].items():
            load_optimizer_state(self.optimizer, self.names, tensors, values, f"optimizer/{phase}/")
            self._states[phase] = self.optimizer.state  # type: ignore[assignment]
        self._at_start = self._states.pop(_AT_START, None)
        self.optimizer.state = active_state
        self.active = rest["active"]

    def _stored(self) -> dict[str, defaultdict[Tensor, Any]]:
        return self._states if self._at_start is None else {**self._states, _AT_START: self._at_start}


def _copy(state: Mapping[Tensor, Any]) -> defaultdict[Tensor, Any]:
    copied: defaultdict[Tensor, Any] = defaultdict(dict)
    for parameter, entries in state.items():
        copied[parameter] = {
            key: value.clone() if isinstance(value, Tensor) else value for key, value in entries.items()
        }
    return copied


def optimizer_state(
    optimizer: Optimizer, names: Sequence[str], prefix: str
) -> tuple[dict[str, Tensor], dict[str, dict[str, Any]]]:
    """
    An optimizer's state by parameter, ready for a checkpoint.

    Args:
        optimizer (`torch.optim.Optimizer`): The optimizer.
        names (`Sequence[str]`): Names of its parameters, in its order.
        prefix (`str`): Start of the tensors' names.

    Returns:
        `tuple[dict[str, Tensor], dict]`: Tensors by `<prefix><parameter name>/<key>` (for sharded parameters, this
        process's shards), and the other values by parameter name, JSON-serialisable.
    """
    tensors: dict[str, Tensor] = {}
    values: dict[str, dict[str, Any]] = {}
    for number, entries in optimizer.state_dict()["state"].items():
        name = names[number]
        values[name] = {}
        for key, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{prefix}{name}/{key}"] = local_tensor(value)
            else:
                values[name][key] = value
    return tensors, values


def load_optimizer_state(
    optimizer: Optimizer,
    names: Sequence[str],
    tensors: Mapping[str, Tensor],
    values: Mapping[str, Mapping[str, Any]],
    prefix: str,
) -> None:
    """
    Inverse of [`optimizer_state`].

    Args:
        optimizer (`torch.optim.Optimizer`): The optimizer, over the same parameters in any order.
        names (`Sequence[str]`): Names of its parameters, in its order.
        tensors (`Mapping[str, Tensor]`): Tensors by name; those without the prefix are ignored.
        values (`Mapping`): The other values.
        prefix (`str`): Start of the tensors' names.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    numbers = {name: number for number, name in enumerate(names)}
    state: dict[int, dict[str, Any]] = {numbers[name]: dict(entries) for name, entries in values.items()}
    for path, tensor in tensors.items():
        if path.startswith(prefix):
            name, key = path[len(prefix) :].rsplit("/", 1)
            number = numbers[name]
            # A scalar, such as Adam's step, is never sharded.
            state[number][key] = sharded_like(tensor, parameters[number]) if tensor.dim() else tensor
    # The optimizer's own method knows which entries must have the parameter's device and dtype.
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
