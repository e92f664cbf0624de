"""The state of a run: its position, what it has measured, and how a checkpoint holds both."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor

from ..checkpointing.optimizer_description import parameter_names
from ..data import EpochPlan, Phase
from ..distributed.fsdp import is_sharded
from ..distributed.phase_groups import PhaseGroups
from ..methods import Method
from ..setup.run_context import RunContext
from .deferred_evaluation import DeferredEvaluation
from .delta_bank import make_delta_bank
from .phase_losses import PhaseLosses
from .phase_optimizer_states import PerPhaseOptimizerState, load_optimizer_state, optimizer_state

logger = logging.getLogger(__name__)

#: Prefix of the tensors of the optimizer's current state, in checkpoints whose Trainer file cannot hold it.
RUNNING_OPTIMIZER = "running_optimizer/"


class RunState:
    """
    Everything that a run has to remember and a checkpoint has to hold. [`PlanRunner`] owns it and moves it from step
    to step. The trainer reads it, saves it with checkpoints and loads it from them.

    Each process writes what differs between processes: shards under FSDP2, phases with `phase_parallel`. The rest is
    equal on all of them.

    Args:
        context (`RunContext`): The parts of the trainer that the run may use.
        method (`Method`): Makes the plans; its state is part of the run's.
        groups (`PhaseGroups`): Which processes run which phases.
        steps (`Mapping[str, int]`): Steps in which every task sees its sampled rows once, K_t.

    Attributes:
        epoch (`int`): The running epoch, from 0.
        step (`int`): The optimizer step within the epoch's plan, from 0.
        history (`list[dict]`): One entry per finished epoch.
        deltas (`DeltaBank`): θ0 and the finished deltas of the running epoch.
        optimizer (`torch.optim.Optimizer`): The optimizer without accelerate's wrapper, once Trainer has created it.
        optimizer_states (`PerPhaseOptimizerState`, *optional*): Only for methods that separate phases.
        losses (`PhaseLosses`): Losses of the running phase.
        phase_losses (`dict[str, dict[str, float]]`): Mean loss by task of the epoch's finished phases.
        dropped (`dict[str, int]`):
            Phases of the epoch that diverged, by [`EpochPlan.label`], with the step at which they did.
        delta_cosines (`dict[str, dict[str, float]]`):
            Cosines between the deltas of the epoch's last round that was merged.
        evaluation (`DeferredEvaluation`): An evaluation that waits for the end of the plan.
    """

    optimizer: torch.optim.Optimizer

    def __init__(self, context: RunContext, method: Method, groups: PhaseGroups, steps: Mapping[str, int]) -> None:
        self.context = context
        self.method = method
        self.groups = groups
        self.steps = dict(steps)
        self.epoch = 0
        self.step = 0
        self.history: list[dict[str, Any]] = []
        self.deltas = make_delta_bank(context, method)
        self.optimizer_states: PerPhaseOptimizerState | None = None
        self.losses = PhaseLosses()
        self.phase_losses: dict[str, dict[str, float]] = {}
        self.dropped: dict[str, int] = {}
        self.delta_cosines: dict[str, dict[str, float]] = {}
        self.evaluation = DeferredEvaluation()
        self.make_plan()

    @property
    def plan(self) -> EpochPlan:
        """`EpochPlan`: The plan of the running epoch, under the current task weights."""
        self._follow_epoch()
        return self._plan

    def make_plan(self) -> None:
        """Makes the running epoch's plan and lanes, again if something that they depend on has changed."""
        self._plan = self.method.plan(self.epoch, self.steps)
        self._lanes = self.groups.lanes(self._plan)

    @property
    def lanes(self) -> list[EpochPlan]:
        """`list[EpochPlan]`: The parts of the plan that run in parallel, by group; the whole plan if none do."""
        self._follow_epoch()
        return self._lanes

    @property
    def lane(self) -> EpochPlan:
        """`EpochPlan`: The part of the plan that this process runs: all of it, unless phases run in parallel."""
        return self.lanes[self.groups.index]

    @property
    def num_steps(self) -> int:
        """`int`: Optimizer steps of the longest lane."""
        return max(lane.num_steps for lane in self.lanes)

    def _follow_epoch(self) -> None:
        if self._plan.epoch != self.epoch:
            self.make_plan()

    @property
    def position(self) -> tuple[Phase, int]:
        """`tuple[Phase, int]`: The phase that this process runs, and the step within it, from 0."""
        return self.lane.locate(self.step)

    @property
    def last_alpha(self) -> dict[str, float] | None:
        """`dict[str, float]`, *optional*: α by task of the last merge that fitted it."""
        return next((entry["alpha"] for entry in reversed(self.history) if entry.get("alpha")), None)

    @property
    def is_forking(self) -> bool:
        """`bool`: Whether a plan of forks has begun and is not merged yet."""
        return self.method.forks and self.step > 0

    def idle_loss(self) -> Tensor:
        """The loss that an idle step adds to Trainer's mean: the mean over the phases that this process has run."""
        args = self.context.args
        losses = [loss for means in self.phase_losses.values() for loss in means.values()]
        mean = sum(losses) / max(1, len(losses))
        return torch.tensor(mean / args.gradient_accumulation_steps, device=args.device)

    def begin_epoch(self, record: Mapping[str, Any]) -> None:
        """
        Closes the finished epoch and begins the next.

        Args:
            record (`Mapping[str, Any]`): What the method adds to the epoch's entry in the history.
        """
        self.deltas.close()
        self.epoch, self.step = self.epoch + 1, 0
        self.history.append({"epoch": self.epoch, **record})
        self.dropped, self.phase_losses, self.delta_cosines = {}, {}, {}

    def synchronise_buffers(self) -> None:
        """
        Gives every rank the buffers of its group's first process, as DDP does in each forward pass. Otherwise,
        batch-norm statistics would differ between ranks.
        """
        for buffer in self.deltas.buffers.values():
            buffer.copy_(self.groups.broadcast(buffer))

    @property
    def part_versions(self) -> dict[str, Hashable]:
        """`dict[str, Hashable]`: Versions of the tensors that change once per phase, by prefix of their names."""
        versions: dict[str, Hashable] = {f"delta/{phase}/": self.start_version for phase in self.deltas.phases}
        if self.optimizer_states is not None:
            stored = self.optimizer_states.stored
            versions |= {f"optimizer/{phase}/": self.optimizer_states.versions[phase] for phase in stored}
        return versions

    @property
    def start_version(self) -> tuple[int, int, bool] | None:
        """`tuple[int, int, bool]`, *optional*: The version of θ0; `None` if it is not held."""
        if not self.deltas.is_open:
            return None
        if self.lane.num_steps == 0:
            return self.epoch, 0, True
        step = min(self.step, self.lane.num_steps - 1)
        phase, _ = self.lane.locate(step - 1 if self.round_is_done else step)
        # A phase that does not fork has another θ0 than the forks before or after it.
        return self.epoch, phase.round, phase.fork

    @property
    def is_at_boundary(self) -> bool:
        """`bool`: Whether the phase that this process has run last has ended."""
        return self.step >= self.lane.num_steps or self.position[1] == 0

    @property
    def round_is_done(self) -> bool:
        """`bool`: Whether a round of forks has ended, is not merged yet, and another round follows in the plan."""
        if not self.deltas.is_open or not 0 < self.step < self.lane.num_steps:
            return False
        return self.lane.locate(self.step - 1)[0].round < self.position[0].round

    @property
    def parameter_names(self) -> list[str]:
        """`list[str]`: Names of the optimizer's parameters, in its order."""
        return parameter_names(self.optimizer, self.context.model)

    @property
    def differs_by_process(self) -> bool:
        """`bool`: Whether θ, deltas and optimizer states differ between processes: shards, or other phases."""
        return self.groups.is_parallel or is_sharded(self.context.model)

    def state_dict(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """
        Everything that a resumed run needs besides Trainer's own files. Called on every rank.

        Returns:
            `tuple[dict[str, Tensor], dict]`: Tensors, and other values, JSON-serialisable.
        """
        states = self.optimizer_states
        tensors, phase_optimizer_states = states.state_dict() if states is not None else ({}, None)
        tensors.update(self.deltas.state_tensors(with_parameters=not self.is_at_boundary))
        running_optimizer = None
        if self.differs_by_process:
            running_tensors, running_optimizer = optimizer_state(
                self.optimizer, self.parameter_names, RUNNING_OPTIMIZER
            )
            tensors.update(running_tensors)
        own = {
            "finished_phases": self.deltas.phases,
            "is_open": self.deltas.is_open,
            "losses": self.losses.state_dict(self.groups.gather),
            "phase_losses": self.phase_losses,
            "dropped": self.dropped,
            "phase_optimizer_states": phase_optimizer_states,
            "running_optimizer": running_optimizer,
        }
        return tensors, {
            "plan": self._plan_facts(),
            "epoch": self.epoch,
            "step": self.step,
            "method": self.method.state_dict(),
            "history": self.history,
            "delta_cosines": self.delta_cosines,
            "evaluation_pending": self.evaluation.pending,
            "processes": gather_object([own]) if self.groups.is_parallel else [own],
        }

    def load_position(self, state: Mapping[str, Any]) -> None:
        """
        Moves the run to the checkpoint's position. Called before the optimizer and the scheduler exist.

        Args:
            state (`Mapping`): The JSON part of [`state_dict`].

        Raises:
            ValueError: If the checkpoint's plans differ from this run's.
        """
        for name, mine in self._plan_facts().items():
            theirs = state["plan"].get(name)
            if name == "num_epochs" and theirs != mine and state["step"] == 0 and self.method.follows_length:
                logger.warning(
                    "The run resumes with %d epochs, and its last epochs, which train the target alone, follow. If "
                    "some of them have run already, α will be fitted on rows that they have trained on.",
                    mine,
                )
            elif theirs != mine:
                raise ValueError(
                    f"the checkpoint was written with {name}={theirs}, this run has {mine}: the plans would differ, "
                    f"so the run cannot resume exactly. Resume with {name}={theirs}, or start a new run from the "
                    "checkpoint's weights"
                )
        self.epoch, self.step = state["epoch"], state["step"]
        self.method.load_state_dict(state["method"])
        self.make_plan()
        self.history = list(state["history"])
        self.delta_cosines = state.get("delta_cosines", {})
        self.evaluation.pending = state["evaluation_pending"]
        self.dropped = dict(self._own_part(state)["dropped"])
        self.phase_losses = dict(self._own_part(state)["phase_losses"])

    def load_tensors(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """
        Restores the running phase's parameters, the finished deltas and the phases' optimizer states.

        Args:
            tensors (`Mapping[str, Tensor]`): The tensors of [`state_dict`]; the model holds θ0.
            state (`Mapping`): The JSON part of [`state_dict`].
        """
        own = self._own_part(state)
        if own["running_optimizer"] is not None:
            running = own["running_optimizer"]
            load_optimizer_state(self.optimizer, self.parameter_names, tensors, running, RUNNING_OPTIMIZER)
        if own["is_open"]:
            self.deltas.open(self.plan.forks)
            self.deltas.load_state_tensors(tensors, own["finished_phases"])
        if self.optimizer_states is not None and own["phase_optimizer_states"] is not None:
            self.optimizer_states.load_state_dict(tensors, own["phase_optimizer_states"])
        self.losses.load_state_dict(own["losses"], self.context.args.device)

    def _own_part(self, state: Mapping[str, Any]) -> Mapping[str, Any]:
        return state["processes"][self.groups.process_index if self.groups.is_parallel else 0]

    def _plan_facts(self) -> dict[str, Any]:
        """What plans depend on besides settings and rows, which the checkpoint's fingerprint holds."""
        return {
            # Follows from `phase_parallel`, `phase_group_size` and the number of processes. It comes first, because
            # the entries below depend on it.
            "phase_parallel": self.groups.layout,
            "global_batch_size": self.context.global_batch_size,
            "steps_per_epoch": self.plan.nominal_steps,
            **self.method.plan_settings,
        }
