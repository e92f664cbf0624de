"""Ranks candidate auxiliaries by what a short probe of each adds to the target's own steps."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from transformers import SchedulerType

from .methods import Method
from .methods.meta_rows import MAX_ACCEPTANCE_ROWS
from .methods.ranking import Probes
from .reporting.summary import align_columns
from .reporting.verdicts import HURT, Verdict, verdicts
from .trainer import MultitaskTrainer
from .training_args import MultitaskTrainingArguments

#: Steps of the target before the probes, and of every probe.
TARGET_STEPS, PROBE_STEPS = 100, 50
DIVERGED = "loss became NaN or infinite"
#: What the training arguments are set to.
SETTINGS: dict[str, Any] = {
    "method": "alphavil",
    "lr_scheduler_type": SchedulerType.CONSTANT,
    "method_kwargs": None,
    "num_train_epochs": 1,
    "max_steps": -1,
    "save_strategy": "no",
    "eval_strategy": "no",
    "load_best_model_at_end": False,
    "eval_on_start": False,
    "push_to_hub": False,
    "enable_jit_checkpoint": False,
    "resume_from_checkpoint": None,
    "phase_parallel": "off",
    "phase_group_size": None,
    "phase_optimizer_state": "reset",
    "max_auxiliaries_per_epoch": None,
}


@dataclass(frozen=True)
class AuxiliaryRanking:
    """
    What short probes said of candidate auxiliaries.

    Args:
        target (`str`): The target.
        effects (`dict[str, Verdict]`): The candidates, the one that saved most first. Those that diverged come last.
        target_effect (`Verdict`): What as many steps of the target saved, for comparison.
        held_out_loss (`float`): The target's loss on held-out rows after those steps.
        rows (`int`): Number of held-out rows.
        target_steps (`int`): Steps of the target before the probes.
        probe_steps (`int`): Steps of every probe.
    """

    target: str
    effects: dict[str, Verdict]
    target_effect: Verdict
    held_out_loss: float
    rows: int
    target_steps: int
    probe_steps: int

    def top(self, count: int) -> list[str]:
        """`list[str]`: The first candidates, at most so many, without those that hurt or diverged."""
        return [task for task, effect in self.effects.items() if effect.words not in (HURT, DIVERGED)][:count]

    def table(self) -> str:
        """`str`: A table in plain text, the target first."""
        rows = [["task", "verdict", "loss saved"]]
        for task, effect in ({f"{self.target} (target)": self.target_effect} | self.effects).items():
            saved = "-" if effect.words == DIVERGED else effect.interval.replace("±", "+/-")
            rows.append([task, effect.words, saved])
        heading = (
            f"{self.target}: after {self.target_steps} of its steps, what {self.probe_steps} steps of each task save "
            f"beside {self.probe_steps} of its own, of a loss of {self.held_out_loss:.3f} on {self.rows} held-out rows"
        )
        return f"{heading}\n\n{align_columns(rows)}"

    def to_dict(self) -> dict[str, Any]:
        """`dict`: All of it, JSON-serialisable; the effect of a candidate that diverged is `None`."""
        found = asdict(self)
        for effect in found["effects"].values():
            effect["contribution"] = None if effect["words"] == DIVERGED else effect["contribution"]
        return found


class ProbingTrainer(MultitaskTrainer):
    """Runs [`Probes`] instead of the method of the arguments."""

    def __init__(self, *args: Any, target_steps: int, probe_steps: int, **kwargs: Any) -> None:
        self._target_steps, self._probe_steps = target_steps, probe_steps
        super().__init__(*args, **kwargs)

    def _new_method(self, tasks: Iterable[str]) -> Method:
        return Probes(self.args, list(tasks), self._target_steps, self._probe_steps)


def rank_auxiliaries(
    model: Any,
    args: MultitaskTrainingArguments,
    target_steps: int = TARGET_STEPS,
    probe_steps: int = PROBE_STEPS,
    **data: Any,
) -> AuxiliaryRanking:
    """
    Ranks candidate auxiliaries by their effect on the target's held-out loss after a short probe ([`Probes`]).

    The model trains the target for `target_steps`, so that its head is not random; it keeps these steps. From there,
    every task trains `probe_steps` steps, which are undone. A candidate's cost does not depend on the others: its
    steps, a δ, and a forward pass over up to 512 held-out rows. (`delta_device="cpu"` keeps many δ off a GPU.) A
    candidate whose own head starts at random needs some steps before its encoder's are worth much, so short probes
    favour tasks that learn fast. Effects have the interval and the words of verdicts; there is one epoch of probes, so
    epochs cannot disagree.

    Args:
        model (`torch.nn.Module`): As in [`MultitaskTrainer`], with a head for the target and for every candidate.
        args (`MultitaskTrainingArguments`):
            For the target, batch, optimizer, learning rate and seed, held-out rows (`alpha_data`,
            `alpha_holdout_fraction`), deltas and precision. The learning rate is constant, and nothing else is read.
        target_steps (`int`, *optional*, defaults to 100): Steps of the target before the probes.
        probe_steps (`int`, *optional*, defaults to 50): Steps of every probe.
        data (`Any`):
            `tasks`, or `train_dataset` and `eval_dataset`, with `processing_class`, `data_collator` and so on, as in
            [`MultitaskTrainer`]. All tasks but the target are candidates.

    Returns:
        `AuxiliaryRanking`: The candidates in order.

    Raises:
        ValueError: If there is no candidate, a number of steps is not positive, or the target's probe diverges; and as
            [`MultitaskTrainer`] does.
    """
    for name, steps in (("target_steps", target_steps), ("probe_steps", probe_steps)):
        if type(steps) is not int or steps < 1:
            raise ValueError(f"{name}={steps!r}: pass a positive whole number")
    args = copy.copy(args)
    for name, value in SETTINGS.items():
        setattr(args, name, value)
    trainer = ProbingTrainer(model=model, args=args, target_steps=target_steps, probe_steps=probe_steps, **data)
    trainer.train()
    (entry,) = trainer.history
    found = verdicts(trainer.history)
    target_effect = found.pop(args.target_task)
    effects = dict(sorted(found.items(), key=lambda pair: -pair[1].contribution))
    effects |= {task: Verdict(DIVERGED, float("nan"), None) for task in entry["dropped"]}
    assert trainer.meta_set is not None
    rows = min(len(trainer.meta_set), MAX_ACCEPTANCE_ROWS)
    return AuxiliaryRanking(
        args.target_task, effects, target_effect, entry["held_out_loss"], rows, target_steps, probe_steps
    )
