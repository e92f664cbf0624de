"""Runs the plans: forks, optimizer state, learning rates and the merge, at the events of Trainer's loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from transformers.trainer_utils import SaveStrategy

from ..data import EpochPlan
from ..distributed.fsdp import is_sharded, local_tensor
from ..distributed.phase_groups import PhaseGroups
from ..methods import Method, StepMethod
from ..objectives.factory import RunObjectives
from ..setup.run_context import RunContext
from .delta_bank import make_sharded_bank
from .finite import FiniteCheck
from .memory import log_expected_memory
from .merging import Merging
from .multitask_step import MultitaskStep
from .outcome import StepOutcome
from .phase_optimizer_states import make_optimizer_states
from .phases import PhaseBoundaries
from .schedule import PositionedSchedule, TrainerSchedule, scale_gradients
from .state import RunState


class PlanRunner:
    """
    Runs the plans of one `train()` call: acts at its steps, phase boundaries and epoch ends.

    The callback calls the methods below, in their order. They return what to log or show, but neither log nor change
    Trainer's flags.

    Args:
        context (`RunContext`): The parts of the trainer that the run may use.
        method (`Method`): Makes the plans and merges the deltas.
        groups (`PhaseGroups`): Which processes run which phases.
        steps (`Mapping[str, int]`): Steps in which every task sees its sampled rows once, K_t.

    Attributes:
        state (`RunState`): The run's position and everything else that a checkpoint holds.
        max_steps (`int`): Optimizer steps of the run's longest plan, as Trainer's loop counts them.
        multitask_step (`MultitaskStep`, *optional*): For methods whose steps carry a batch of every task.

    Raises:
        ValueError: If the method cannot work with the model, the tasks or their metrics.
    """

    def __init__(self, context: RunContext, method: Method, groups: PhaseGroups, steps: Mapping[str, int]) -> None:
        self.context = context
        self.method = method
        self.groups = groups
        self.state = RunState(context, method, groups, steps)
        self.num_epochs = 0
        self.max_steps = self.state.num_steps if groups.is_parallel else self.plan.nominal_steps
        self.multitask_step: MultitaskStep | None = None
        self._schedule: Any = None
        self._finite = FiniteCheck(context, self.state)
        self._phases = PhaseBoundaries(context, self.state, self._finite)
        self._merging = Merging(context, self.state, self._finite)
        self._is_attached = False
        method.check(self.state.deltas, self.objectives)

    @property
    def plan(self) -> EpochPlan:
        """`EpochPlan`: The plan of the running epoch."""
        return self.state.plan

    @property
    def is_idle(self) -> bool:
        """`bool`: Whether this process has run its part of the plan and waits for others."""
        return self.state.step >= self.state.lane.num_steps

    @property
    def plan_is_done(self) -> bool:
        """`bool`: Whether every process has run its part of the plan, which is not merged yet."""
        return self.state.step == self.state.num_steps

    @property
    def learning_rate(self) -> float | None:
        """`float`, *optional*: The last step's rate without task weight; `None` if Trainer's scheduler sets it."""
        return None if self._schedule is None else self._schedule.learning_rate

    @property
    def objectives(self) -> RunObjectives:
        """`RunObjectives`: The losses and scores that the method may ask for."""
        return RunObjectives(self.context, self.state.deltas.parameters)

    # ---- Events of Trainer's loop

    def begin_run(self, num_epochs: int) -> None:
        """
        Called before training, once the number of epochs is known: plans may depend on it.

        Args:
            num_epochs (`int`): Epochs of the run.

        Raises:
            ValueError: If the method cannot train in so few epochs.
        """
        self.num_epochs = num_epochs
        self.method.begin(num_epochs)
        self.state.make_plan()

    def attach(self, optimizer: Any, scheduler: Any) -> None:
        """
        Takes what Trainer has prepared. Only a run's first call has an effect.

        Args:
            optimizer (`torch.optim.Optimizer`): The optimizer, with or without accelerate's wrapper.
            scheduler (`LambdaLR`): The learning-rate scheduler.

        Raises:
            ValueError: If the method cannot work with the optimizer or the scheduler.
        """
        if self._is_attached:
            return
        self._is_attached = True
        state, args = self.state, self.context.args
        state.optimizer = getattr(optimizer, "optimizer", optimizer)
        if is_sharded(self.context.model):
            # FSDP2 has replaced the parameters that the model had when this runner was made.
            state.deltas = make_sharded_bank(self.context, self.method, state.optimizer)
        if isinstance(self.method, StepMethod):
            self.multitask_step = MultitaskStep(self.context, self.method, state, self.objectives)
        self._schedule = (PositionedSchedule if self.method.separates_phases else TrainerSchedule)(scheduler)
        if self.method.separates_phases:
            names = state.parameter_names
            state.optimizer_states = make_optimizer_states(args, self.method, state.optimizer, names)
        if self.method.forks:
            shards = [local_tensor(p) for p in state.deltas.parameters]
            log_expected_memory(shards, len(state.steps), args, num_own=len(state.lane.phases) or 1)

    def begin_step(self) -> str:
        """
        At a phase's first step, goes back to θ0, switches the optimizer's state and seeds every generator.

        Returns:
            `str`: The running phase and step, for the progress bar.
        """
        if self.is_idle:
            return "waiting for other processes"
        phase, step_in_phase = self.state.position
        if step_in_phase == 0:
            self._phases.begin(phase)
        return f"{phase.name} {step_in_phase + 1}/{phase.num_steps}"

    def observe_loss(self, task: str, loss: Tensor) -> None:
        """
        Adds a micro-batch's unweighted loss to its task's mean.

        Args:
            task (`str`): The micro-batch's task.
            loss (`torch.Tensor`): Its loss, divided by the accumulation steps; it stays on the device.
        """
        phase, step_in_phase = self.state.position
        planned = phase.step_tasks[step_in_phase]
        if task not in planned:
            raise RuntimeError(f"expected a batch of task {', '.join(map(repr, planned))} at this step, got {task!r}")
        self.state.losses.observe(task, loss, step_in_phase)

    def before_optimizer_step(self) -> None:
        """Sets the step's learning rate and applies the task weight, after gradient clipping."""
        if self.is_idle:
            return
        phase, step_in_phase = self.state.position
        tasks = phase.step_tasks[step_in_phase]
        for task in tasks:
            self.state.losses.count_step(task)
        # In a step of several tasks, the method has already weighted their gradients.
        weight = self.method.task_weights[tasks[0]] if phase.weighted else 1.0
        on_learning_rate = self.context.args.weight_applies_to == "learning_rate"
        position = self.state.lane.schedule_position(self.state.step)
        self._schedule.apply(self.state.optimizer, position, weight if on_learning_rate else 1.0)
        if not on_learning_rate and weight != 1.0:
            scale_gradients(self.state.deltas.parameters, weight)

    def after_optimizer_step(self) -> None:
        """Takes the task weight back from the learning rates that Trainer's scheduler sets."""
        self._schedule.restore()

    def end_step(self) -> StepOutcome:
        """
        Counts the step and, at a phase's last step, records δ or undoes a phase that diverged.

        Raises:
            DivergenceError: If the only model of a method without forks became NaN or infinite.
        """
        outcome = StepOutcome()
        if self.is_idle:
            self.state.step += 1
            return outcome
        phase, step_in_phase = self.state.position
        if self.multitask_step is not None:
            self.multitask_step.finish()
        self.state.step += 1
        if step_in_phase + 1 == phase.num_steps:
            self._phases.end(phase, outcome)
        return outcome

    def end_round(self, progress: Callable[[int], None]) -> StepOutcome:
        """
        Merges the deltas inside a plan. Called when [`RunState.round_is_done`].

        Args:
            progress (`Callable[[int], None]`): As in [`end_plan`].

        Raises:
            DivergenceError: If the round left no finite model.
        """
        self._merging.end_round(self.objectives, progress)
        return StepOutcome()

    def end_plan(self, progress: Callable[[int], None]) -> StepOutcome:
        """
        Merges the deltas and begins the next epoch. Called when [`plan_is_done`].

        Args:
            progress (`Callable[[int], None]`): Called with the number of every finished α step.

        Raises:
            DivergenceError: If the epoch left no finite model.
        """
        outcome, state = StepOutcome(), self.state
        if self.groups.is_parallel:
            self._phases.exchange(outcome)
        was_short = state.step < self.max_steps
        self._merging.end_plan(self.objectives, progress, outcome)
        # Trainer saves at max_steps, which a shortened last plan never reaches.
        saves_by_steps = self.context.args.save_strategy == SaveStrategy.STEPS
        outcome.must_save = was_short and state.epoch == self.num_epochs and saves_by_steps
        return outcome

    def require_finite(self) -> None:
        """
        Checks a method without forks before a checkpoint and at the end of training. Called on every rank.

        Raises:
            DivergenceError: If its only model has diverged. (A fork that diverges is undone when it ends.)
        """
        if not self.method.forks and self.state.step > 0:
            self._finite.require(self.state.losses.reduce(self.groups.gather)[1])

    def abandon(self) -> None:
        """Restores θ0 if a plan was stopped before its merge, and frees the memory of θ0 and the deltas."""
        if self.state.deltas.is_open:
            self.state.deltas.rewind()
        self.state.deltas.free()
