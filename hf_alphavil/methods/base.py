"""The base class of methods, which make a plan for every epoch and act when it has run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from math import ceil
from typing import TYPE_CHECKING, Any, ClassVar

from ..data.plan import EpochPlan, Phase
from ..settings.suggestion import did_you_mean
from ..settings.task_weights import read_task_weights
from .deltas import DeltaBank
from .objective import Objectives
from .options import NoOptions, read_options
from .record import EpochRecord

if TYPE_CHECKING:
    from ..settings import MultitaskSettings


class Method(ABC):
    """
    One way to train a target task with auxiliary tasks.

    A method knows task names, steps, weights and deltas. It does not know files, tokens or the training loop.

    Args:
        args (`MultitaskSettings`): The settings.
        tasks (`Sequence[str]`): All tasks, the target included.

    Raises:
        ValueError: If the method cannot train with so few auxiliary tasks, or if `task_weights` names another task.
    """

    #: The value of `method` that selects the class.
    name: ClassVar[str]
    #: Whether plans fork: phases start from θ0 and leave deltas, which `merge` turns into the next θ.
    forks: ClassVar[bool] = False
    #: Whether there is one fork per task, with the task's name. `phase_parallel` may then give forks to different
    #: processes.
    forks_by_task: ClassVar[bool] = False
    #: Whether every phase name has a separate optimizer state, and learning rates are read by position.
    separates_phases: ClassVar[bool] = False
    #: Whether the method needs the target's loss on a meta set.
    needs_meta_set: ClassVar[bool] = False
    #: Whether the method reads whole gradients. Under FSDP2 a process has only its shards of them.
    needs_whole_gradients: ClassVar[bool] = False
    #: Whether the method cannot work if no trainable parameter is shared by tasks, such as with a frozen encoder.
    needs_shared_parameters: ClassVar[bool] = False
    #: Whether the method measures the target's metric on the meta set, if there is one, instead of the loss.
    measures_scores: ClassVar[bool] = False
    #: The library that the method needs, from the extra `methods`.
    library: ClassVar[str | None] = None
    #: What the meta set was used for. In the model card, "on 40 rows of ..." follows it.
    meta_use: ClassVar[str] = "task weights were measured"
    #: Whether the method fits α, so that the settings of α apply.
    fits_alpha: ClassVar[bool] = False
    #: Whether task weights start from the setting `task_weights`.
    starts_from_task_weights: ClassVar[bool] = False
    #: Whether task weights change over the epochs, and so are logged.
    changes_weights: ClassVar[bool] = True
    #: Whether the task weight scales steps, in the way that `weight_applies_to` says.
    weighs_steps: ClassVar[bool] = False
    #: Whether plans may have a joint phase that mixes tasks by `task_sampling`.
    mixes_by_sampling: ClassVar[bool] = False
    #: Whether the method draws batches of `alpha_batch_size` rows from the meta set.
    draws_meta_batches: ClassVar[bool] = False
    #: The fewest auxiliary tasks and epochs with which the method differs from a simpler one. With fewer it refuses to
    #: train.
    min_auxiliaries: ClassVar[int] = 0
    min_epochs: ClassVar[int] = 1
    #: A dataclass of the method's options, set by `method_kwargs`.
    Options: ClassVar[type] = NoOptions

    def __init__(self, args: MultitaskSettings, tasks: Sequence[str]) -> None:
        self.args = args
        self.tasks = tuple(tasks)
        self.auxiliaries = tuple(task for task in tasks if task != args.target_task)
        self.options: Any = read_options(self.Options, args.method_kwargs, self.name)
        self.task_weights = self._start_weights() if self.starts_from_task_weights else dict.fromkeys(self.tasks, 1.0)
        self._require("auxiliary task", self.min_auxiliaries, len(self.auxiliaries), "add tasks")
        #: Epochs of the run. [`begin`] corrects the number if `max_steps` changes it.
        self.num_epochs = ceil(args.num_train_epochs)

    def _start_weights(self) -> dict[str, float]:
        given = read_task_weights(self.args.task_weights) or {}
        if unknown := [task for task in given if task not in self.tasks]:
            raise ValueError(
                f"task_weights: the run does not train a task {unknown[0]!r}: pass weights of {', '.join(self.tasks)}."
                + did_you_mean(unknown[0], self.tasks)
            )
        return {task: given.get(task, 1.0) for task in self.tasks}

    @classmethod
    def check_available(cls) -> None:
        """
        Checks that the method's library is installed.

        Raises:
            ImportError: If it is missing. The message says what to install.
        """
        if cls.library is not None and find_spec(cls.library) is None:
            raise ImportError(
                f"method {cls.name!r} comes from the library {cls.library}, which is not installed: "
                "pip install 'hf_alphavil[methods]'"
            )

    @classmethod
    def trains_on(cls, task: str, target: str) -> bool:
        """`bool`: Whether the method trains on the task."""
        return True

    def begin(self, num_epochs: int) -> None:
        """
        Called before training starts, and before a checkpoint's state is loaded.

        Args:
            num_epochs (`int`): Epochs of the run, in whole plans.

        Raises:
            ValueError: If the method cannot train in so few epochs.
        """
        self._require("epoch", self.min_epochs, num_epochs, "raise `num_train_epochs` (or `max_steps`)")
        self.num_epochs = num_epochs

    def _require(self, what: str, least: int, given: int, remedy: str) -> None:
        if given < least:
            needed = f"{least} {what}{'' if least == 1 else 's'}"
            raise ValueError(
                f"method {self.name!r} needs at least {needed}, but the run has {given}: {remedy}, or pass "
                "method='multitask' or 'single'"
            )

    @property
    def plan_settings(self) -> dict[str, Any]:
        """`dict`: What plans depend on besides tasks and steps, JSON-serialisable. It must be equal on resume."""
        return {}

    @property
    def follows_length(self) -> bool:
        """`bool`: Whether a run may resume with another number of epochs from the end of an epoch."""
        return False

    def gives_buffers(self, phase: Phase) -> bool:
        """
        Whether the merge takes a fork's buffers, such as batch-norm statistics. By default it takes the target's.

        Args:
            phase (`Phase`): The fork.
        """
        return phase.name == self.args.target_task

    def check(self, deltas: DeltaBank, objectives: Objectives) -> None:
        """
        Called before training, to refuse settings that do not fit the model, the tasks or their metrics.

        Args:
            deltas (`DeltaBank`): The parameters. No delta is recorded yet.
            objectives (`Objectives`): The objectives that [`merge`] will get.

        Raises:
            ValueError: If the method could not train.
        """
        return

    def check_loss(self, deltas: DeltaBank, objectives: Objectives) -> None:
        """
        Called before training, when Trainer has prepared the model, to refuse losses that do not fit the settings.

        Args:
            deltas (`DeltaBank`): The parameters. No delta is recorded yet.
            objectives (`Objectives`): The objectives that [`merge`] will get.

        Raises:
            ValueError: If the method could not train.
        """
        return

    @abstractmethod
    def plan(self, epoch: int, steps: Mapping[str, int]) -> EpochPlan:
        """
        The plan of an epoch, a pure function of settings, current task weights and epoch.

        Args:
            epoch (`int`): The epoch, from 0.
            steps (`Mapping[str, int]`): K_t, the steps in which every task sees its sampled rows once.
        """

    def merge_round(
        self, deltas: DeltaBank, objectives: Objectives, epoch: int, progress: Callable[[int], None]
    ) -> float | None:
        """
        Sets the model's parameters between two rounds of forks of one epoch. Called only if a plan has several rounds.

        Args:
            deltas (`DeltaBank`): As in [`merge`], and so are the others.
            objectives (`Objectives`): The objectives.
            epoch (`int`): The epoch, from 0.
            progress (`Callable[[int], None]`): Called with the number of every finished α step.

        Returns:
            `float`, *optional*: The target's loss or entropy under the merged parameters, if it was measured.
        """
        raise NotImplementedError(f"method {self.name!r} merges only at the end of an epoch")

    def merge(
        self, deltas: DeltaBank, objectives: Objectives, epoch: int, progress: Callable[[int], None]
    ) -> EpochRecord:
        """
        Sets the model's parameters and updates the task weights. Called when the plan has run.

        Args:
            deltas (`DeltaBank`): θ0 and the deltas of the forks; without forks, only the parameters.
            objectives (`Objectives`): The target on the meta set, and every task on its training rows.
            epoch (`int`): The epoch, from 0.
            progress (`Callable[[int], None]`): Called with the number of every finished α step.

        Returns:
            `EpochRecord`: The method's part of the epoch's history entry.
        """
        return EpochRecord()

    def state_dict(self) -> dict[str, Any]:
        """`dict`: The method's state at any step, JSON-serialisable."""
        return {"task_weights": dict(self.task_weights)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of [`state_dict`]."""
        self.task_weights = dict(state["task_weights"])
