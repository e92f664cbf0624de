"""What a method is: a plan for every epoch, and what happens when the plan has run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from torch import Tensor

from ..data.plan import EpochPlan
from .deltas import DeltaBank
from .options import NoOptions, read_options

if TYPE_CHECKING:
    from ..training_args import MultitaskTrainingArguments


class Objective(Protocol):
    """A task's loss on a set of rows, at the model's present parameters, without dropout; equal on all ranks."""

    @property
    def num_rows(self) -> int:
        """Rows of the set."""
        ...

    @property
    def has_metric(self) -> bool:
        """Whether the score is a metric, not minus the loss."""
        ...

    def loss(self, rows: Sequence[int]) -> float:
        """Mean loss over rows."""
        ...

    def loss_and_products(
        self, rows: Sequence[int], products: Callable[[Sequence[Tensor | None]], dict[str, Tensor]]
    ) -> tuple[float, dict[str, float]]:
        """Mean loss over rows, and `products(gradient of that loss)`, which is linear in the gradient."""
        ...

    def loss_and_gradient(self, rows: Sequence[int]) -> tuple[float, list[Tensor | None]]:
        """Mean loss over rows and its gradient, one tensor per parameter; `None` where the loss does not reach."""
        ...

    def score(self, rows: Sequence[int]) -> float:
        """The task's main metric over rows, the greater the better; minus the loss where the task has no metric."""
        ...


class Objectives(Protocol):
    """The objectives that a method may ask for."""

    @property
    def meta(self) -> Objective:
        """The target on the meta set; for methods with `needs_meta_set`."""
        ...

    def meta_entropy(self) -> Objective:
        """The entropy of the target's predictions on the meta set, whose labels do not count, in the loss's place."""
        ...

    def training(self, task: str) -> Objective:
        """A task on its training rows."""
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
    #: Whether the forks are one per task, named after it, and the whole plan: `phase_parallel` may deal them out.
    forks_by_task: ClassVar[bool] = False
    #: Whether every phase has optimizer state of its own, by its name, and reads learning rates by position.
    separates_phases: ClassVar[bool] = False
    #: Whether the method needs the target's loss on a meta set.
    needs_meta_set: ClassVar[bool] = False
    #: A dataclass of the settings of the method's own, given by `method_kwargs`.
    Options: ClassVar[type] = NoOptions

    def __init__(self, args: MultitaskTrainingArguments, tasks: Sequence[str]) -> None:
        self.args = args
        self.tasks = tuple(tasks)
        self.auxiliaries = tuple(task for task in tasks if task != args.target_task)
        self.options: Any = read_options(self.Options, args.method_kwargs, self.name)
        self.task_weights = dict.fromkeys(self.tasks, 1.0)

    @classmethod
    def trains(cls, task: str, target: str) -> bool:
        """`bool`: Whether the method trains on the task."""
        return True

    def check(self, deltas: DeltaBank, objectives: Objectives) -> None:
        """
        Called before training: refuses settings that do not fit the model, the tasks or their metrics.

        Args:
            deltas (`DeltaBank`): The parameters.
            objectives (`Objectives`): The objectives that [`merge`] will be given.

        Raises:
            ValueError: If the method could not do its work.
        """
        return

    @abstractmethod
    def plan(self, epoch: int, steps: Mapping[str, int]) -> EpochPlan:
        """
        The plan of an epoch: a pure function of settings, present task weights and epoch.

        Args:
            epoch (`int`): The epoch, from 0.
            steps (`Mapping[str, int]`): Steps in which every task sees its sampled rows once, K_t.
        """

    def merge(
        self, deltas: DeltaBank, objectives: Objectives, epoch: int, progress: Callable[[int], None]
    ) -> dict[str, Any]:
        """
        Called when the plan has run, with the deltas of its forks: sets the model's parameters, updates the weights.

        Args:
            deltas (`DeltaBank`): θ0 and the finished deltas; of a method that does not fork, the bare parameters.
            objectives (`Objectives`): The target's held-out loss, and every task's on its training rows.
            epoch (`int`): The epoch, from 0.
            progress (`Callable[[int], None]`): Told the number of every α step.

        Returns:
            `dict`: What the epoch adds to the history: `alpha`, `meta_loss` and the like.
        """
        return {"alpha": {}, "meta_loss": []}

    def state_dict(self) -> dict[str, Any]:
        """`dict`: The method's state at any step, ready for JSON."""
        return {"task_weights": dict(self.task_weights)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of [`state_dict`]."""
        self.task_weights = dict(state["task_weights"])
