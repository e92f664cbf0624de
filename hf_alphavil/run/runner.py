"""Runs the plans: position, forks, optimizer state, learning rates, the merge, and the state of all of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import gather_object
from torch import Tensor
from transformers import TrainerControl, set_seed
from transformers.optimization import Adafactor
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from ..data import EpochPlan, Phase, TaskDataset
from ..data.seeding import derive_seed
from ..distributed.fsdp import check_all_sharded, is_sharded, local_tensor
from ..distributed.phase_groups import PhaseGroups
from ..methods import DeltaBank, Method, StepMethod
from ..objectives.factory import RunObjectives
from .callbacks import PlanProgressCallback
from .deferred_evaluation import DeferredEvaluation
from .divergence import diverged
from .memory import extra_memory
from .multitask_step import MultitaskStep
from .phase_losses import PhaseLosses
from .phase_optimizer_states import PerPhaseOptimizerState
from .runner_state import RunnerState
from .schedule import PositionedSchedule

if TYPE_CHECKING:
    from ..trainer import MultitaskTrainer

logger = logging.getLogger(__name__)


class PlanRunner(RunnerState):
    """
    The state of one `train()` call, and what happens at its steps and phase boundaries.

    Args:
        trainer (`MultitaskTrainer`): Whose model, optimizer, accelerator and logs are used.
        method (`Method`): Makes the plans and merges the deltas.
        steps (`Mapping[str, int]`): Steps in which every task sees its sampled rows once, K_t.
        meta_set (`TaskDataset`, *optional*): What α is fitted on.
        groups (`PhaseGroups`): Which processes run which phases.
    """

    def __init__(
        self,
        trainer: MultitaskTrainer,
        method: Method,
        steps: Mapping[str, int],
        meta_set: TaskDataset | None,
        groups: PhaseGroups,
    ) -> None:
        self.trainer = trainer
        self.method = method
        self.steps = dict(steps)
        self.meta_set = meta_set
        self.groups = groups
        self.epoch = 0
        self.step = 0
        self.history: list[dict[str, Any]] = []
        self.deltas = self._new_bank()
        self._slots: PerPhaseOptimizerState | None = None
        self._schedule: PositionedSchedule | None = None
        self._losses = PhaseLosses()
        self._phase_losses: dict[str, dict[str, float]] = {}
        self._dropped: dict[str, int] = {}
        self._evaluation = DeferredEvaluation()
        method.check(self.deltas, self.objectives)
        self._plan = method.plan(0, self.steps)
        #: Optimizer steps of the longest plan, where phases run side by side.
        self.max_steps = groups.num_steps(self._plan)
        self._attached = False
        #: The running step, of methods whose steps carry a batch of every task.
        self.multitask_step = MultitaskStep(self)

    # ---- Where the run stands

    @property
    def lane(self) -> EpochPlan:
        """`EpochPlan`: The part of the plan that this process runs: all of it, unless phases run side by side."""
        return self.groups.own_lane(self.plan)

    @property
    def is_idle(self) -> bool:
        """`bool`: Whether this process has run its part of the plan and waits for others."""
        return self.step >= self.lane.num_steps

    @property
    def in_plan(self) -> bool:
        """`bool`: Whether a plan of forks has begun and is not merged yet."""
        return self.method.forks and self.step > 0

    @property
    def learning_rate(self) -> float | None:
        """`float`, *optional*: The last step's learning rate, unweighted; `None` where Trainer's scheduler has it."""
        return None if self._schedule is None else self._schedule.learning_rate

    # ---- Events of Trainer's loop

    def begin_run(self, num_epochs: int) -> None:
        """
        Before training, when the number of epochs is known, which plans may depend on.

        Args:
            num_epochs (`int`): Epochs of the run.

        Raises:
            ValueError: If the method cannot train in so few epochs.
        """
        self.method.begin(num_epochs)
        self._plan = self.method.plan(self.epoch, self.steps)

    def attach(self) -> None:
        """Takes hold of the parameters, the optimizer and the scheduler once Trainer has prepared them."""
        if self._attached:
            return
        self._attached = True
        if is_sharded(self.trainer.model):
            # FSDP2 has put sharded parameters in the place of those that the model had when this runner was made.
            self.deltas = self._new_bank()
            named = zip(self.deltas.names, self.deltas.parameters, strict=True)
            check_all_sharded(named, self.trainer.accelerator.num_processes)
            if isinstance(self._bare_optimizer(), Adafactor):
                raise ValueError(
                    "Adafactor keeps sums over rows and columns, which have no shard of the parameter's shape: under "
                    "FSDP2 choose another `optim` (for example `optim='adamw_torch'`)"
                )
        if self.method.separates_phases:
            self._schedule = PositionedSchedule(self.trainer.lr_scheduler)
            keep = self.trainer.args.phase_optimizer_state == "per_task" or not self.method.forks
            self._slots = PerPhaseOptimizerState(self._bare_optimizer(), keep, rolls_back=self.method.forks)
        if self.method.forks:
            self._log_expected_memory()

    def begin_step(self) -> None:
        """At a phase's first step: rewinds to θ0, switches the optimizer's state, seeds every generator."""
        if self.is_idle:
            self._show("waits for other processes")
            return
        phase, step_in_phase = self.lane.locate(self.step)
        if step_in_phase == 0:
            self._begin_phase(phase)
        self._show(f"{phase.name} {step_in_phase + 1}/{phase.num_steps}")

    def _begin_phase(self, phase: Phase) -> None:
        if self.deltas.is_open:
            self.deltas.rewind()
        elif self.method.forks:
            # For a joint phase too: what it starts from is what checkpoints hold, and what is left if it diverges.
            self.deltas.open()
        if self._slots is not None:
            self._slots.begin_phase(phase.name)
        kind = "fork" if phase.fork else "joint"
        set_seed(derive_seed(self.trainer.args.seed, self.epoch, phase.name, kind))

    def observe_loss(self, task: str, loss: Tensor) -> None:
        """
        Adds a micro-batch's unweighted loss to its task's mean.

        Args:
            task (`str`): The micro-batch's task.
            loss (`torch.Tensor`): Its loss, divided by the accumulation steps; left on the device.
        """
        phase, step_in_phase = self.lane.locate(self.step)
        planned = phase.step_tasks[step_in_phase]
        if task not in planned:
            raise RuntimeError(f"the plan's step is of {', '.join(planned)}, the batch of {task!r}")
        self._losses.observe(task, loss, step_in_phase)

    def idle_loss(self) -> Tensor:
        """What a step without work adds to Trainer's mean loss: the mean of the phases that this process ran."""
        losses = [loss for means in self._phase_losses.values() for loss in means.values()]
        mean = sum(losses) / max(1, len(losses))
        return torch.tensor(mean / self.trainer.args.gradient_accumulation_steps, device=self.trainer.args.device)

    def before_optimizer_step(self) -> None:
        """Sets the step's learning rate and applies the task weight, after gradients were clipped."""
        if self.is_idle:
            return
        phase, step_in_phase = self.lane.locate(self.step)
        tasks = phase.step_tasks[step_in_phase]
        for task in tasks:
            self._losses.count_step(task)
        # Where a step carries several tasks, the method has weighed their gradients.
        weight = self.method.task_weights[tasks[0]] if phase.weighted else 1.0
        on_learning_rate = self.trainer.args.weight_applies_to == "learning_rate"
        if self._schedule is not None:
            position = self.lane.schedule_position(self.step)
            self._schedule.apply(self._bare_optimizer(), position, weight if on_learning_rate else 1.0)
        if not on_learning_rate and weight != 1.0:
            # The loss's weight as a factor of its clipped gradient: clipping the weighted one would cancel it.
            gradients = [local_tensor(p.grad) for p in self.deltas.parameters if p.grad is not None]
            torch._foreach_mul_(gradients, weight)

    def end_step(self) -> None:
        """At a phase's last step: records δ; at the plan's last step: merges."""
        if self.is_idle:
            self.step += 1
        else:
            phase, step_in_phase = self.lane.locate(self.step)
            if isinstance(self.method, StepMethod):
                self.multitask_step.finish()
            self.step += 1
            if step_in_phase + 1 == phase.num_steps:
                self._end_phase(phase)
        if self.step == self.groups.num_steps(self.plan):
            self._end_plan()

    def _end_phase(self, phase: Phase) -> None:
        means, first_bad = self._losses.reduce(self.groups.gather)
        self._losses = PhaseLosses()
        self._phase_losses[phase.name] = means
        if not self.groups.are_several:
            self._log_phase(phase)
        if self.method.forks:
            self.synchronise_buffers()
            failed = self._failure(first_bad)
            if self._slots is not None:
                self._slots.end_phase(roll_back=failed is not None, forget=phase.is_last)
            if failed is not None:
                self._drop(phase, *failed)
            elif phase.fork:
                self.deltas.record(phase.name, keep_buffers=self.method.gives_buffers(phase))
            if not phase.fork:
                self.deltas.close()
        else:
            self._require_finite(first_bad)
            if self._slots is not None:
                self._slots.end_phase(forget=phase.is_last)

    def _exchange_phases(self) -> None:
        """Gives every process what the phases of all have left: losses, failures, deltas."""
        everywhere = gather_object([(self._phase_losses, self._dropped)])
        self._phase_losses = {phase: means for losses, _ in everywhere for phase, means in losses.items()}
        self._dropped = {phase: step for _, dropped in everywhere for phase, step in dropped.items()}
        for phase in self.plan.phases:
            self._log_phase(phase)
            if phase.name not in self._dropped:
                keep_buffers = self.method.gives_buffers(phase)
                self.deltas.share(phase.name, self.groups.owner(phase.name), keep_buffers)

    def _log_phase(self, phase: Phase) -> None:
        self._log({f"loss_{task}": loss for task, loss in self._phase_losses[phase.name].items()})

    def _failure(self, first_bad: Mapping[str, int]) -> tuple[str, int] | None:
        """Task and step at which a phase went wrong on a rank of the group; parameters may do so without a loss."""
        if first_bad:
            return min(first_bad.items(), key=lambda item: item[1])
        if self._model_is_finite():
            return None
        phase, step = self.lane.locate(self.step - 1)
        return phase.step_tasks[step][0], step

    def _model_is_finite(self) -> bool:
        finite = torch.tensor([float(self.deltas.model_is_finite())], device=self.trainer.args.device)
        return bool(self.groups.gather(finite).min() == 1)

    def require_finite(self) -> None:
        """
        Called on every rank before a checkpoint is written and at training's end.

        Raises:
            DivergenceError: If a method of one phase has lost its model. Forks undo a phase when it ends.
        """
        if not self.method.forks and self.step > 0:
            self._require_finite(self._losses.reduce(self.groups.gather)[1])

    def _require_finite(self, first_bad: Mapping[str, int]) -> None:
        failed = self._failure(first_bad)
        if failed is not None:
            task, step = failed
            what = f"the loss of task {task!r} became NaN or infinite at step {step + 1} of epoch {self.epoch + 1}"
            # Every checkpoint was found finite when it was written.
            raise diverged(what, self.trainer.run_dir, self.epoch, self.step)

    def _drop(self, phase: Phase, task: str, step: int) -> None:
        self.deltas.rewind()
        self._dropped[phase.name] = step
        if self.groups.leads:
            what = f"its δ is dropped, task {task!r} keeps its weight" if phase.fork else "it is undone"
            logger.warning(
                "The loss of task %r became NaN or infinite at step %d of %d of the phase %r in epoch %d: %s, its "
                "optimizer state is put back and the run goes on. Should this happen again, lower `learning_rate`, "
                "clip gradients (`max_grad_norm`), or look at the task's rows.",
                task, step + 1, phase.num_steps, phase.name, self.epoch + 1, what,
            )  # fmt: skip

    def _end_plan(self) -> None:
        if self.groups.are_several:
            self._exchange_phases()
        needed = [phase for phase in self.plan.phases if phase.fork] or self.plan.phases
        if all(phase.name in self._dropped for phase in needed):
            what = f"every task's loss became NaN or infinite in epoch {self.epoch + 1}"
            raise diverged(what, self.trainer.run_dir, self.epoch, 0)
        weights_used = dict(self.method.task_weights)
        plan = self.plan
        was_short = self.step < self.max_steps
        record = self.method.merge(self.deltas, self.objectives, self.epoch, self._show_alpha_step)
        if self.method.forks and not self._model_is_finite():
            what = f"the merged parameters of epoch {self.epoch + 1} are NaN or infinite"
            raise diverged(what, self.trainer.run_dir, self.epoch, 0)
        self.deltas.close()
        self.epoch, self.step = self.epoch + 1, 0
        self.history.append(
            {
                "epoch": self.epoch,
                "task_weights": dict(self.method.task_weights),
                "task_weights_used": weights_used,
                "dropped": self._dropped,
                # A method whose weights are an epoch's outcome, not its plan, says itself what was used.
                **record.history_entry(),
            }
        )
        self._dropped, self._phase_losses = {}, {}
        if self.method.changes_weights:
            self._log(record.logs(self.method.task_weights))
        if record.pruned:
            self._warn_of_pruned(record.pruned, plan)
        state = self.trainer.state
        if (
            was_short
            and self.epoch == state.num_train_epochs
            and self.trainer.args.save_strategy == SaveStrategy.STEPS
        ):
            # Trainer saves at max_steps, which a shortened last plan never reaches.
            self.trainer.control.should_save = True

    def settle_control(self, control: TrainerControl) -> None:
        """
        Holds an evaluation that was asked for inside a plan to the plan's last step, where a merged model exists.

        Args:
            control (`TrainerControl`): Trainer's flags, after all callbacks have spoken.
        """
        is_saved = self.trainer.saved_steps[-1:] == [self.trainer.state.global_step]
        self._evaluation.settle(control, self.trainer.args, self.in_plan, is_saved)

    def abandon(self) -> None:
        """Leaves θ0 in the model where a plan was stopped before its merge."""
        if self.deltas.is_open:
            self.deltas.rewind()
            self.deltas.close()

    # ---- Helpers

    def synchronise_buffers(self) -> None:
        """Gives every rank its group's first's buffers, as DDP does at each pass: batch-norm statistics are local."""
        for buffer in self.deltas.buffers.values():
            buffer.copy_(self.groups.broadcast(buffer))

    @property
    def objectives(self) -> RunObjectives:
        """`RunObjectives`: What the method may look at."""
        return RunObjectives(self.trainer, self.deltas.parameters, self.meta_set)

    def _new_bank(self) -> DeltaBank:
        args = self.trainer.args
        unscaled = self.trainer.unscaled_parameters() if self.method.fits_alpha else ()
        groups = self.trainer.alpha_groups() if self.method.fits_alpha else None
        return DeltaBank(self.trainer.model, unscaled, groups, device=args.delta_device, dtype=args.delta_dtype)

    def _warn_of_pruned(self, tasks: Sequence[str], plan: EpochPlan) -> None:
        args = self.trainer.args
        if args.process_index == 0:
            logger.warning(
                "%s left the plan after epoch %d: the weight was at or below prune_below=%g after %d epochs in a row. "
                "Of the %d optimizer steps of an epoch, the %d of %s phases are saved.",
                ", ".join(tasks), self.epoch, args.prune_below, args.prune_patience,
                plan.num_steps, sum(phase.num_steps for phase in plan.phases if phase.name in tasks),
                "its" if len(tasks) == 1 else "their",
            )  # fmt: skip

    def _log(self, logs: dict[str, float]) -> None:
        if self.trainer.args.logging_strategy == IntervalStrategy.NO:
            return
        # A log of our own must not use up the flag by which a callback asked for Trainer's.
        should_log = self.trainer.control.should_log
        self.trainer.log(logs)
        self.trainer.control.should_log = should_log

    def _show(self, text: str) -> None:
        for callback in self.trainer.callback_handler.callbacks:
            if isinstance(callback, PlanProgressCallback):
                callback.show(text)

    def _show_alpha_step(self, step: int) -> None:
        self._show(f"α {step}/{self.trainer.args.alpha_steps}")

    def _log_expected_memory(self) -> None:
        shards = [local_tensor(p) for p in self.deltas.parameters]
        num_own = len(self.lane.phases) or 1
        on_device, on_cpu = extra_memory(shards, len(self.steps), self.trainer.args, num_own)
        logger.info(
            "  Expected memory for θ0, deltas and optimizer states of %d tasks beyond a plain run, with AdamW: "
            "%.2f GB where the parameters lie%s (a checkpoint written inside an epoch holds about as much)",
            len(self.steps),
            on_device / 1e9,
            f", {on_cpu / 1e9:.2f} GB in CPU memory" if on_cpu else "",
        )
