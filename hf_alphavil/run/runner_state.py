"""The state of a run of plans: what a checkpoint holds of it, and how it comes back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import gather_object
from torch import Tensor

from ..data import EpochPlan
from ..distributed.fsdp import is_sharded
from ..distributed.phase_groups import PhaseGroups
from ..methods import DeltaBank, Method
from .deferred_evaluation import DeferredEvaluation
from .phase_losses import PhaseLosses
from .phase_optimizer_states import PerPhaseOptimizerState, load_optimizer_state, optimizer_state

if TYPE_CHECKING:
    from ..trainer import MultitaskTrainer

#: Start of the names under which a checkpoint holds the optimizer's present state, where Trainer's file does not do.
RUNNING_OPTIMIZER = "running_optimizer/"


class RunnerState:
    """
    What a [`PlanRunner`] has to remember. It sets and changes the attributes; here they are written and read.

    What differs between processes (shards under FSDP2, phases of their own with `phase_parallel`) is written by each;
    the rest is the same on all.
    """

    trainer: MultitaskTrainer
    method: Method
    groups: PhaseGroups
    steps: dict[str, int]
    epoch: int
    step: int
    history: list[dict[str, Any]]
    deltas: DeltaBank
    _slots: PerPhaseOptimizerState | None
    _losses: PhaseLosses
    _phase_losses: dict[str, dict[str, float]]
    _dropped: dict[str, int]
    _evaluation: DeferredEvaluation
    _plan: EpochPlan

    @property
    def plan(self) -> EpochPlan:
        """`EpochPlan`: The plan of the running epoch, under the task weights in force."""
        if self._plan.epoch != self.epoch:
            self._plan = self.method.plan(self.epoch, self.steps)
        return self._plan

    def state_dict(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """
        All that a resumed run needs beside Trainer's own files. Called on every rank.

        Returns:
            `tuple[dict[str, Tensor], dict]`: Tensors, and what is ready for JSON.
        """
        tensors, slots = self._slots.state_dict() if self._slots is not None else ({}, None)
        tensors.update(self.deltas.state_tensors())
        running_optimizer = None
        if self.has_own_tensors:
            running_tensors, running_optimizer = optimizer_state(self._bare_optimizer(), RUNNING_OPTIMIZER)
            tensors.update(running_tensors)
        own = {
            "finished_phases": self.deltas.phases,
            "is_open": self.deltas.is_open,
            "losses": self._losses.state_dict(self.groups.gather),
            "phase_losses": self._phase_losses,
            "dropped": self._dropped,
            "phase_optimizer_states": slots,
            "running_optimizer": running_optimizer,
        }
        return tensors, {
            "run": self._fingerprint(),
            "epoch": self.epoch,
            "step": self.step,
            "method": self.method.state_dict(),
            "history": self.history,
            "evaluation_pending": self._evaluation.pending,
            "processes": gather_object([own]) if self.groups.are_several else [own],
        }

    @property
    def has_own_tensors(self) -> bool:
        """`bool`: Whether this process's θ, deltas and optimizer states are its own: shards, or other phases'."""
        return self.groups.are_several or is_sharded(self.trainer.model)

    def _own_part(self, state: Mapping[str, Any]) -> Mapping[str, Any]:
        return state["processes"][self.groups.process_index if self.groups.are_several else 0]

    def load_position(self, state: Mapping[str, Any]) -> None:
        """
        Puts the run where the checkpoint was written; before optimizer and scheduler exist.

        Args:
            state (`Mapping`): The JSON part of [`state_dict`].

        Raises:
            ValueError: If the checkpoint belongs to a run with other tasks, rows, method or global batch size.
        """
        for name, mine in self._fingerprint().items():
            theirs = state["run"].get(name)
            if theirs != mine:
                raise ValueError(
                    f"the checkpoint was written with {name}={theirs}, this run has {mine}: its plan would differ, "
                    f"and the run could not go on exactly. Resume with {name}={theirs}, or start anew from the "
                    "checkpoint's weights"
                )
        self.epoch, self.step = state["epoch"], state["step"]
        self.method.load_state_dict(state["method"])
        self._plan = self.method.plan(self.epoch, self.steps)
        self.history = list(state["history"])
        self._evaluation.pending = state["evaluation_pending"]
        self._dropped = dict(self._own_part(state)["dropped"])
        self._phase_losses = dict(self._own_part(state)["phase_losses"])

    def load_tensors(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """
        Puts the running phase's parameters, finished deltas and optimizer slots back.

        Args:
            tensors (`Mapping[str, Tensor]`): The tensors of [`state_dict`]; the model holds θ0.
            state (`Mapping`): The JSON part of [`state_dict`].
        """
        own = self._own_part(state)
        if own["running_optimizer"] is not None:
            load_optimizer_state(self._bare_optimizer(), tensors, own["running_optimizer"], RUNNING_OPTIMIZER)
        if own["is_open"]:
            self.deltas.load_state_tensors(tensors, own["finished_phases"])
        if self._slots is not None and own["phase_optimizer_states"] is not None:
            self._slots.load_state_dict(tensors, own["phase_optimizer_states"])
        self._losses.load_state_dict(own["losses"], self.trainer.args.device)

    def _fingerprint(self) -> dict[str, Any]:
        args = self.trainer.args
        return {
            # Of `phase_parallel`, `phase_group_size` and the number of processes; before what follows from it.
            "phase_parallel": self.groups.layout,
            "method": self.method.name,
            "target_task": args.target_task,
            "tasks": {name: len(dataset) for name, dataset in self.trainer.train_datasets.items()},
            "global_batch_size": self.trainer.global_batch_size,
            "data_seed": args.resolved_data_seed,
            "steps_per_epoch": self.plan.nominal_steps,
            **self.method.plan_settings,
        }

    def _bare_optimizer(self) -> torch.optim.Optimizer:
        optimizer = self.trainer.optimizer
        return getattr(optimizer, "optimizer", optimizer)
