"""A separate optimizer state for every phase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from transformers.optimization import Adafactor

from ..distributed.fsdp import local_tensor, sharded_like
from ..methods import Method
from .optimizer_state_storage import OptimizerStateStorage, State, new_state

if TYPE_CHECKING:
    from ..settings import MultitaskSettings

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


class PerPhaseOptimizerState:
    """
    Gives every phase its own optimizer state, so that no task's momentum moves another task's parameters.

    States are stored between phases. A phase that may be undone starts from a copy of its stored state, which is then
    what the phase is rolled back to.

    Args:
        optimizer (`torch.optim.Optimizer`): The bare optimizer (not accelerate's wrapper).
        names (`Sequence[str]`): Names of its parameters, by which checkpoints hold their states.
        keep (`bool`): `True` keeps every phase's state over the epochs, `False` starts each phase without state.
        rolls_back (`bool`): Whether a phase may be rolled back to its start.
        storage (`OptimizerStateStorage`): Where states are kept between phases.

    Raises:
        ValueError: If the optimizer keeps state that cannot be swapped.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        names: Sequence[str],
        keep: bool,
        rolls_back: bool,
        storage: OptimizerStateStorage,
    ) -> None:
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
        self.storage = storage
        #: The stored states by phase; that of a running phase is the one at its start.
        self.stored: dict[str, State] = {}
        #: How often each phase's state has been stored.
        self.versions: dict[str, int] = {}
        # A stored state that a phase has replaced. The next phase's copy uses its memory again.
        self._replaced: State | None = None

    def begin_phase(self, phase: str) -> None:
        """
        Loads a phase's state into the optimizer.

        Args:
            phase (`str`): The phase's name. Its state is from an earlier epoch, or empty.
        """
        find = self.stored.get if self.rolls_back else self.stored.pop
        into, self._replaced = self._replaced, None
        self.optimizer.state = self.storage.load(find(phase, new_state()), self.rolls_back, into)

    def end_phase(self, phase: str, roll_back: bool = False, forget: bool = False, is_followed: bool = False) -> None:
        """
        Stores the running phase's state, if a later epoch needs it, and empties the optimizer.

        Args:
            phase (`str`): The phase's name.
            roll_back (`bool`, *optional*, defaults to `False`): Whether to keep the state at the phase's start.
            forget (`bool`, *optional*, defaults to `False`): Whether no later epoch has this phase.
            is_followed (`bool`, *optional*, defaults to `False`): Whether another phase begins before any merge.
        """
        if forget:
            self.stored.pop(phase, None)
        elif self.keep and not roll_back:
            replaced = self.stored.get(phase)
            self._store(phase)
            self._replaced = replaced if is_followed and self._reuses_memory(phase) else None
        self.optimizer.state = new_state()

    def state_dict(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """
        The stored states. The running phase's current state is in the optimizer, which Trainer saves.

        Returns:
            `tuple[dict[str, Tensor], dict]`: Tensors by `optimizer/<phase>/<parameter name>/<key>`, and the other
            values, JSON-serialisable.
        """
        tensors: dict[str, Tensor] = {}
        values: dict[str, dict[str, dict[str, Any]]] = {}
        running = self.optimizer.state
        for phase, stored in self.stored.items():
            self.optimizer.state = stored
            phase_tensors, values[phase] = optimizer_state(self.optimizer, self.names, f"optimizer/{phase}/")
            tensors.update(phase_tensors)
        self.optimizer.state = running
        return tensors, values

    def load_state_dict(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Inverse of [`state_dict`]."""
        running = self.optimizer.state
        for phase in values:
            load_optimizer_state(self.optimizer, self.names, tensors, values[phase], f"optimizer/{phase}/")
            self._store(phase)
        self.optimizer.state = running

    def _reuses_memory(self, phase: str) -> bool:
        """Not on a GPU, which soon finds memory again, and not where the storage has used it again itself."""
        is_on_cpu = all(parameter.device.type == "cpu" for parameter in self.stored[phase])
        return is_on_cpu and self.storage.dtype == "float32"

    def _store(self, phase: str) -> None:
        self.stored[phase] = self.storage.store(self.optimizer.state, self.stored.get(phase, {}))
        self.versions[phase] = self.versions.get(phase, 0) + 1


def make_optimizer_states(
    args: MultitaskSettings, method: Method, optimizer: Optimizer, names: Sequence[str]
) -> PerPhaseOptimizerState:
    """
    Creates the phases' optimizer states of a run.

    Args:
        args (`MultitaskSettings`): `phase_optimizer_state`, `optimizer_state_device` and `optimizer_state_dtype`.
        method (`Method`): The method. Only its forks can start without state, or be undone.
        optimizer (`torch.optim.Optimizer`): The bare optimizer.
        names (`Sequence[str]`): Names of its parameters.

    Raises:
        ValueError: If the optimizer keeps state that cannot be swapped.
    """
    keep = args.phase_optimizer_state == "per_task" or not method.forks
    storage = OptimizerStateStorage(args.optimizer_state_device, args.optimizer_state_dtype)
    return PerPhaseOptimizerState(optimizer, names, keep, method.forks, storage)


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
