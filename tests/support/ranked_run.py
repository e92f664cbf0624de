"""A ranking of the toy's auxiliaries."""

import math
from pathlib import Path

from hf_alphavil.ranking import rank_auxiliaries
from support.toy_run import TARGET, toy_args, toy_data, toy_model

TARGET_STEPS, PROBE_STEPS, ROUNDS = 6, 3, 2


def rank_toy(output_dir, target_steps=TARGET_STEPS, probe_steps=PROBE_STEPS, rounds=ROUNDS, poisoned=None, **settings):
    """Ranks the toy's auxiliaries; one task may have infinite inputs. Returns ranking, model and arguments."""
    train, meta = toy_data()
    if poisoned is not None:
        train[poisoned] = [{**row, "x": row["x"] * math.inf} for row in train[poisoned]]
    model, args = toy_model(), toy_args(output_dir, lr_scheduler_type="linear", **settings)
    data = {"train_dataset": train, "eval_dataset": {TARGET: meta}}
    return rank_auxiliaries(model, args, target_steps, probe_steps, rounds, **data), model, args


def ranking_of_toy(output_dir, **settings):
    """What a ranking says, from any number of processes."""
    return rank_toy(Path(output_dir), **settings)[0].to_dict()
