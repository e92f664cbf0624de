"""Runs of the toy in which one rank differs from the others."""

import os
import time

import torch
from accelerate.utils import gather_object
from torch.utils.data import Subset
from transformers import EarlyStoppingCallback, TrainerCallback

from hf_alphavil import MultitaskTrainer
from support.toy_run import LABELS, TARGET, ToyModel, accuracy, toy_args, toy_data


class Watcher(TrainerCallback):
    pass


def narrower(model):
    model.encoder = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 8)).double()


def without_bias(model):
    model.heads["b"].bias = None


def frozen(model):
    model.heads["b"].requires_grad_(False)


def dropout(model):
    model.encoder.append(torch.nn.Dropout(0.1))


def reseeded(model):
    with torch.no_grad():
        model.heads["b"].weight.add_(0.5)


#: What rank 1 has: settings; changes of the rows or the model; callbacks; what it resumes from.
SETTINGS = {
    "learning_rate": 0.2,
    "num_train_epochs": 2,
    "max_steps": 7,
    "seed": 1,
    "data_seed": 5,
    "optim": "adamw_torch",
    "weight_decay": 0.1,
    "max_grad_norm": 1.0,
    "lr_scheduler_type": "constant",
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 2,
    "eval_strategy": "epoch",
    "save_strategy": "epoch",
    "logging_strategy": "epoch",
    "enable_jit_checkpoint": True,
    "target_task": "b",
    "method": "multitask",
    "alpha_steps": 4,
    "alpha_optimizer": "adam",
    "alpha_objective": "entropy",
    "alpha_granularity": "layer",
    "delta_fraction": 0.5,
    "delta_dtype": "bfloat16",
    "max_phase_steps": 2,
    "joint_fraction": 0.5,
    "weight_applies_to": "learning_rate",
    "task_sampling": "uniform",
    "phase_optimizer_state": "reset",
    "phase_parallel": "on",
    "eval_auxiliaries": True,
    "dataloader_num_workers": 1,
}
CHANGES = {f"setting {name}": {"settings": {name: value}} for name, value in SETTINGS.items()} | {
    "output_dir": {"folder": "other"},
    "order of tasks": {"order": ("b", "a", "c")},
    "a task less": {"order": ("a", "b")},
    "other rows": {"seed": 1},
    "a row less": {"rows": lambda rows: Subset(rows, range(len(rows) - 1))},
    "rows in another order": {"rows": lambda rows: Subset(rows, range(len(rows))[::-1])},
    "fewer validation rows": {"meta": lambda rows: Subset(rows, range(len(rows) - 1))},
    "another width": {"model": narrower},
    "a parameter less": {"model": without_bias},
    "a frozen head": {"model": frozen},
    "dropout": {"model": dropout},
    "early stopping": {"callbacks": [EarlyStoppingCallback(2)]},
    "resume": {"resume": True},
}
#: Differences that do not matter.
EQUAL = {
    "nothing": {},
    "initial weights": {"model": reseeded},
    "callback": {"callbacks": [Watcher()]},
    "progress bar": {"settings": {"disable_tqdm": False}},
    "delta_device": {"settings": {"delta_device": "cpu"}},
}


def disagreeing_run(output_dir, case, rank=1, **settings):
    """
    Trains the toy, with a change on one rank.

    Returns:
        Of each rank: its error or `None`, the sum of its parameters, and the seconds that it took.
    """
    change = (CHANGES | EQUAL)[case] if int(os.environ["RANK"]) == rank else {}
    begin = time.monotonic()
    train, meta = toy_data(change.get("order", ("a", "b", "c")), change.get("seed", 0))
    train["b"] = change.get("rows", lambda rows: rows)(train["b"])
    meta = change.get("meta", lambda rows: rows)(meta)
    model = ToyModel(LABELS)
    change.get("model", lambda model: None)(model)
    defaults = {"num_train_epochs": 1, "ddp_timeout": 20, "metric_for_best_model": "loss"}
    args = toy_args(output_dir / change.get("folder", "run"), **defaults | settings | change.get("settings", {}))
    error = None
    try:
        trainer = MultitaskTrainer(
            model=model,
            args=args,
            train_dataset=train,
            eval_dataset={args.target_task: meta, TARGET: meta},
            compute_metrics=accuracy,
            callbacks=change.get("callbacks"),
        )
        trainer.train(resume_from_checkpoint=change.get("resume"))
    except ValueError as caught:
        error = str(caught)
    checksum = sum(p.double().sum().item() for p in model.parameters())
    return list(zip(*gather_object([(error, checksum, time.monotonic() - begin)]), strict=True))
