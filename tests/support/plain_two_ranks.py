"""Scenarios with both classes in every rank of several processes."""

import json
from collections.abc import Sequence
from pathlib import Path

from transformers import Trainer

from hf_alphavil import MultitaskTrainer, MultitaskTrainingArguments
from support.plain_harness import Side, compare
from support.plain_scenarios import SCENARIOS as ON_ONE_PROCESS
from support.plain_search import search
from support.plain_toys import sentences


def resumed(side: Side) -> Trainer:
    """23 rows, two ranks: resumed at an epoch's end (step 3) and in its middle (step 4)."""
    settings = {"save_strategy": "steps", "save_steps": 1}
    for step in (None, 3, 4):
        trainer = side.trainer(settings, train_dataset=sentences(23))
        assert trainer.args.world_size == 2
        trainer.train(resume_from_checkpoint=step and str(side.folder / f"checkpoint-{step}"))
    return trainer


class OtherDraw(MultitaskTrainer):
    """Deviates only in rank 1."""

    def _finalize_training(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        if self.args.process_index == 1:
            __import__("random").random()
        return super()._finalize_training(*args, **kwargs)


SCENARIOS = ON_ONE_PROCESS | {
    "search with Optuna": search,
    "resumed": resumed,
    "multitask arguments": ON_ONE_PROCESS["label_smoothing"],
    "deviation": ON_ONE_PROCESS["epochs"],
}
CLASSES = {
    "multitask arguments": {"args_class": MultitaskTrainingArguments},
    "deviation": {"trainer_class": OtherDraw},
}


def compare_all(folder: Path, names: Sequence[str]) -> None:
    """Writes this rank's differences as JSON."""
    found = {name: compare(SCENARIOS[name], folder / name, **CLASSES.get(name, {})) for name in names}
    rank = Side(Trainer, MultitaskTrainingArguments, folder).args().process_index
    (folder / f"rank_{rank}.json").write_text(json.dumps(found))
