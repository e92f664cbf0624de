"""Ranks candidate auxiliaries by what a short probe of each adds to the target's own steps."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from transformers import SchedulerType

from .methods import Method
from .methods.meta_rows import MAX_ACCEPTANCE_ROWS
from .methods.ranking import Probes
from .reporting.summary import align_columns
from .reporting.verdicts import HELPED, HURT, Verdict, verdicts
from .settings.checks import require
from .setup.unused_settings import unread_settings
from .trainer import MultitaskTrainer
from .training_args import MultitaskTrainingArguments

logger = logging.getLogger(__name__)

#: Rounds of probes, and in each of them steps of the target before the probes, and of every probe.
ROUNDS, TARGET_STEPS, PROBE_STEPS = 4, 50, 25
DIVERGED = "loss became NaN or infinite"
#: What is said instead of *helped* and *hurt*: steps that save held-out loss may do so without teaching anything.
SAVED, COST = "saved loss", "cost loss"
#: The words of candidates that are no auxiliaries to train with.
LEFT_OUT = (COST, DIVERGED)
#: What the training arguments are set to.
SETTINGS: dict[str, Any] = {
    "method": "alphavil",
    "lr_scheduler_type": SchedulerType.CONSTANT,
    "method_kwargs": None,
    "max_steps": -1,
    "save_strategy": "no",
    "eval_strategy": "no",
    "load_best_model_at_end": False,
    "metric_for_best_model": None,
    "greater_is_better": None,
    "eval_on_start": False,
    "eval_auxiliaries": False,
    "push_to_hub": False,
    "enable_jit_checkpoint": False,
    "resume_from_checkpoint": None,
    "phase_parallel": "off",
    "phase_group_size": None,
    "phase_optimizer_state": "reset",
    "max_auxiliaries_per_epoch": None,
    "lr_scheduler_kwargs": None,
    "alpha_objective": "loss",
    "alpha_applies_to": "all",
    "alpha_autocast": False,
}
#: Other training arguments that a ranking does not read, beside those that [`Probes`] do not read.
UNREAD = (
    "num_train_epochs", "max_phase_steps", "warmup_steps", "do_train", "do_eval", "do_predict",
    # Probes start without optimizer states
    "optimizer_state_device", "optimizer_state_dtype",
    # Evaluations
    "eval_steps", "eval_delay", "per_device_eval_batch_size", "prediction_loss_only",
    "eval_do_concat_batches", "eval_use_gather_object", "eval_accumulation_steps", "include_for_metrics",
    "batch_eval_metrics", "bf16_full_eval", "fp16_full_eval",
    # Checkpoints and pushes
    "save_only_model", "save_steps", "save_on_each_node", "save_total_limit", "ignore_data_skip",
    "restore_callback_states_from_checkpoint", "hub_token", "hub_private_repo", "hub_model_id", "hub_strategy",
    "hub_always_push", "hub_revision", "hub_export", "model_card_template",
)  # fmt: skip


@dataclass(frozen=True)
class AuxiliaryRanking:
    """
    What short probes said of candidate auxiliaries.

    Args:
        target (`str`): The target.
        effects (`dict[str, Verdict]`): The candidates, the one that saved most first. Those that diverged come last.
        target_effect (`Verdict`): What as many steps of the target saved, for comparison.
        held_out_loss (`float`): The target's loss on held-out rows after its last probe.
        rows (`int`): Number of held-out rows.
        target_steps (`int`): Steps of the target before every round of probes.
        probe_steps (`int`): Steps of every probe.
        rounds (`int`): Rounds of probes. Effects are their sums.
    """

    target: str
    effects: dict[str, Verdict]
    target_effect: Verdict
    held_out_loss: float
    rows: int
    target_steps: int
    probe_steps: int
    rounds: int

    def top(self, count: int) -> list[str]:
        """`list[str]`: The first candidates, at most so many, without those that cost loss or diverged."""
        return [task for task, effect in self.effects.items() if effect.words not in LEFT_OUT][:count]

    def table(self) -> str:
        """`str`: A table in plain text, the target first."""
        rows = [["task", "effect", "loss saved"]]
        for task, effect in ({f"{self.target} (target)": self.target_effect} | self.effects).items():
            saved = "-" if effect.words == DIVERGED else effect.interval.replace("±", "+/-")
            rows.append([task, effect.words, saved])
        heading = (
            f"{self.target}: what {self.probe_steps} steps of each task save beside {self.probe_steps} of its own, of "
            f"a loss of {self.held_out_loss:.3f} on {self.rows} held-out rows (sum of {self.rounds} rounds, each "
            f"after {self.target_steps} steps of {self.target})"
        )
        return f"{heading}\n\n{align_columns(rows)}"

    def to_dict(self) -> dict[str, Any]:
        """`dict`: All of it, JSON-serialisable; the effect of a candidate that diverged is `None`."""
        found = asdict(self)
        for effect in found["effects"].values():
            effect["contribution"] = None if effect["words"] == DIVERGED else effect["contribution"]
        return found


def unread_by_rankings() -> set[str]:
    """The training arguments that a ranking does not read."""
    return {*SETTINGS, *UNREAD, *unread_settings(Probes)} - {"alphavil_preset"}  # which sets alpha_holdout_fraction


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
    rounds: int = ROUNDS,
    **data: Any,
) -> AuxiliaryRanking:
    """
    Ranks candidate auxiliaries by their effect on the target's held-out loss after short probes ([`Probes`]).

    The model trains the target for `target_steps`, so that its head is not random; it keeps these steps. From there,
    every task trains `probe_steps` steps, which are undone. The next round goes on with the target. A candidate's cost
    does not depend on the others: its steps, a δ, and a forward pass over up to 512 held-out rows in every round.
    (`delta_device="cpu"` keeps many δ off a GPU.) A candidate whose own head starts at random needs some steps before
    its encoder's are worth much, so short probes favour tasks that learn fast. Effects are summed over rounds, and
    have the intervals and the words of verdicts: *helped* and *hurt* need rounds that agree, as epochs must
    ([`Verdict`]), because even a useless update moves the loss of many rows. A single round agrees with itself: here,
    words need no fewest rounds and no least effect.

    Args:
        model (`torch.nn.Module`): As in [`MultitaskTrainer`], with a head for the target and for every candidate.
        args (`MultitaskTrainingArguments`):
            For the target, batch, optimizer, learning rate and seed, held-out rows (`alpha_data`,
            `alpha_holdout_fraction`), deltas and precision. The learning rate is constant. A warning names settings
            that are given and not read.
        target_steps (`int`, *optional*, defaults to 50): Steps of the target before every round of probes.
        probe_steps (`int`, *optional*, defaults to 25): Steps of every probe.
        rounds (`int`, *optional*, defaults to 4): Rounds of probes.
        data (`Any`):
            `tasks`, or `train_dataset` and `eval_dataset`, with `processing_class`, `data_collator` and so on, as in
            [`MultitaskTrainer`]. All tasks but the target are candidates.

    Returns:
        `AuxiliaryRanking`: The candidates in order.

    Raises:
        ValueError: If there is no candidate, a number of steps is not positive, the held-out rows have no labels to
            read (`alpha_data="test"`), or the target's probe diverges; and as [`MultitaskTrainer`] does.
    """
    for name, count in (("target_steps", target_steps), ("probe_steps", probe_steps), ("rounds", rounds)):
        if type(count) is not int or count < 1:
            raise ValueError(f"{name}={count!r}: pass a positive whole number")
    require(args, "alpha_data", args.alpha_data != "test", "rows whose labels may be read, such as 'train_holdout'")
    args = copy.copy(args)
    names = unread_by_rankings()
    unread = [
        f"{name}={value!r}"
        for name, value in args.given.items()
        if name in names and SETTINGS.get(name, not value) != value
    ]
    if unread:
        logger.warning("A ranking does not read %s, which has no effect.", ", ".join(unread))
    args.forget(names)
    for name, value in {**SETTINGS, "num_train_epochs": rounds}.items():
        setattr(args, name, value)
    trainer = ProbingTrainer(model=model, args=args, target_steps=target_steps, probe_steps=probe_steps, **data)
    trainer.train()
    diverged = {task: Verdict(DIVERGED, float("nan"), None) for entry in trainer.history for task in entry["dropped"]}
    words = {HELPED: SAVED, HURT: COST}
    found = {
        task: replace(verdict, words=words.get(verdict.words, verdict.words))
        for task, verdict in verdicts(trainer.history, least_epochs=1, small_effect=0.0).items()
    }
    target_effect = found.pop(args.target_task)
    finite = [pair for pair in found.items() if pair[0] not in diverged]
    assert trainer.meta_set is not None
    return AuxiliaryRanking(
        target=args.target_task,
        effects=dict(sorted(finite, key=lambda pair: -pair[1].contribution)) | diverged,
        target_effect=target_effect,
        held_out_loss=trainer.history[-1]["held_out_loss"],
        rows=min(len(trainer.meta_set), MAX_ACCEPTANCE_ROWS),
        target_steps=target_steps,
        probe_steps=probe_steps,
        rounds=rounds,
    )
