"""What a method is: a plan for every epoch, and what happens when the plan has run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from torch import Tensor

from ..data.plan import EpochPlan
from .deltas import DeltaBank

if TYPE_CHECKING:
    from ..training_args import MultitaskTrainingArguments


class MetaObjective(Protocol):
    """The target's loss on the meta set, at the model's present parameters."""

    @property
    def num_rows(self) -> int:
        """Rows of the meta set."""
        ...

    def loss(self, rows: Sequence[int]) -> float:
        """Mean loss over meta rows, equal on all ranks."""
        ...

    def loss_and_products(
        self, rows: Sequence[int], products: Callable[[Sequence[Tensor | None]], dict[str, Tensor]]
    ) -> tuple[float, dict[str, float]]:
        """Mean loss over meta rows, and `products(gradient of that loss)`, both equal on all ranks."""
        ...


class Method(ABC):
    """
    One way to train a target task with auxiliary tasks.

    A method knows task names, steps, weights and deltas; it knows nothing of files, tokens or the training loop.

    Args:
        args (`MultitaskTrainingArguments`): The settings.
        tasks (`Sequence[str]`): All tasks, the target included.
    """

    #: The value of `method` that selects the class.
    name: ClassVar[str]
    #: Whether the plan forks: phases start from θ0 and leave deltas, which `merge` turns into the next θ.
    forks: ClassVar[bool] = False
    #: Whether `merge` needs the target's loss on a meta set.
    needs_meta_set: ClassVar[bool] = False

    def __init__(self, args: MultitaskTrainingArguments, tasks: Sequence[str]) -> None:
        self.args = args
        self.tasks = tuple(tasks)
        self.task_weights = dict.fromkeys(self.tasks, 1.0)

    @classmethod
    def trains(cls, task: str, target: str) -> bool:
        """`bool`: Whether the method trains on the task."""
        return True

    @abstractmethod
    def plan(self, epoch: int, steps: Mapping[str, int]) -> EpochPlan:
        """
        The plan of an epoch: a pure function of settings, present task weights and epoch.

        Args:
            epoch (`int`): The epoch, from 0.
            steps (`Mapping[str, int]`): Steps in which every task sees its sampled rows once, K_t.
        """

    def merge(
        self, deltas: DeltaBank, meta: MetaObjective | None, epoch: int, progress: Callable[[int], None]
    ) -> dict:
        """
        Called when the plan has run, with the deltas of its forks: sets the model's parameters, updates the weights.

        Args:
            deltas (`DeltaBank`): θ0 and the finished deltas.
            meta (`MetaObjective`, *optional*): The target's held-out loss, for methods with `needs_meta_set`.
            epoch (`int`): The epoch, from 0.
            progress (`Callable[[int], None]`): Told the number of every α step.

        Returns:
            `dict`: What the epoch adds to the history: `alpha`, `meta_loss` and the like.
        """
        return {"alpha": {}, "meta_loss": []}

    def state_dict(self) -> dict[str, Any]:
        """`dict`: The method's state between plans, ready for JSON."""
        return {"task_weights": dict(self.task_weights)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of [`state_dict`]."""
        self.task_weights = dict(state["task_weights"])
