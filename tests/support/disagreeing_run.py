"""Runs of the toy in which one rank differs from the others."""

import os
import time
from contextlib import chdir

import torch
from accelerate.utils import gather_object
from torch.utils.data import Dataset, Subset
from transformers import EarlyStoppingCallback, TrainerCallback, default_data_collator

from hf_alphavil import MultitaskTrainer
from support.kinds_run import word_tokenizer
from support.sharded_run import HEADS, bert_trainer
from support.toy_run import LABELS, TARGET, ToyModel, accuracy, toy_args, toy_data, toy_trainer


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


def with_batch_norm(model):
    model.encoder.append(torch.nn.BatchNorm1d(8).double())


def other_statistics(model):
    with_batch_norm(model)
    model.encoder[-1].running_mean.fill_(3)


def tripled(outputs, labels, num_items_in_batch=None):
    return 3 * outputs["loss"]


def doubled(rows):
    batch = default_data_collator(rows)
    return batch | {"x": 2 * batch["x"]}


def always_half(prediction):
    return {"accuracy": 0.5}


def left_padding():
    tokenizer = word_tokenizer()
    tokenizer.padding_side = "left"
    return tokenizer


class Unreadable(Dataset):
    """Rows of which one cannot be read."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        if i == 11:
            raise OSError("bad sector")
        return self.rows[i]


#: What rank 1 has: settings; changes of the rows or the model; callbacks; what it resumes from. `others` is what the
#: other ranks have.
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
    "regression_scale": "none",
    "method": "multitask",
    "alpha_steps": 4,
    "alpha_optimizer": "adam",
    "alpha_objective": "entropy",
    "alpha_granularity": "layer",
    "delta_fraction": 0.5,
    "delta_device": "cpu",
    "delta_dtype": "bfloat16",
    "optimizer_state_dtype": "bfloat16",
    "max_phase_steps": 2,
    "max_auxiliaries_per_epoch": 1,
    "phase_lengths": "equal",
    "joint_fraction": 0.5,
    "target_phase": "last",
    "rounds_per_epoch": 2,
    "final_target_epochs": 1,
    "weight_applies_to": "learning_rate",
    "task_weights": {"a": 2.0},
    "task_sampling": "uniform",
    "phase_optimizer_state": "reset",
    "phase_parallel": "on",
    "eval_auxiliaries": True,
    "dataloader_num_workers": 1,
    "per_device_eval_batch_size": 3,
    "save_steps": 3,
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
    "half as precise": {"model": lambda model: model.float()},
    "a row that cannot be read": {"rows": Unreadable},
    "early stopping": {"callbacks": [EarlyStoppingCallback(2)]},
    "more patience": {
        "callbacks": [EarlyStoppingCallback(3)],
        "others": {"callbacks": [EarlyStoppingCallback(2)]},
    },
    "options of a method": {
        "settings": {"method": "cagrad", "method_kwargs": {"c": 0.1}},
        "others": {"settings": {"method": "cagrad"}},
    },
    "own optimizer": {"optimizers": lambda model: (torch.optim.SGD(model.parameters(), lr=0.3), None)},
    "class of optimizer": {"arguments": {"optimizer_cls_and_kwargs": (torch.optim.Adam, {"lr": 0.1})}},
    "loss function": {"arguments": {"compute_loss_func": tripled}},
    "collator": {"arguments": {"data_collator": doubled}},
    "metrics": {"arguments": {"compute_metrics": always_half}},
    "tokenizer": {
        "arguments": {"processing_class": left_padding(), "data_collator": default_data_collator},
        "others": {"arguments": {"processing_class": word_tokenizer(), "data_collator": default_data_collator}},
    },
    "evaluated task": {
        "then": lambda trainer, meta: trainer.evaluate({"b": meta}),
        "others": {"then": lambda trainer, meta: trainer.evaluate({"a": meta})},
    },
    "predicted rows": {
        "then": lambda trainer, meta: trainer.predict(Subset(meta, range(39))),
        "others": {"then": lambda trainer, meta: trainer.predict(meta)},
    },
    "resume": {"resume": True},
}
BEST = {"eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True}
#: Ranks whose `output_dir` has the same name, on disks of their own.
DISKS = {
    "best model": {"settings": BEST},
    "phases": {"settings": {"save_strategy": "epoch", "phase_parallel": "on"}},
    "resume": {"settings": {"save_strategy": "epoch", "save_on_each_node": True}, "resume": "auto"},
}
#: Differences that do not matter.
EQUAL = {
    "nothing": {},
    "initial weights": {"model": reseeded},
    "callback": {"callbacks": [Watcher()]},
    "progress bar": {"settings": {"disable_tqdm": False}},
    "optimizer_state_device": {"settings": {"optimizer_state_device": "cpu"}},
}
#: Differences that only DDP evens out.
SHARDED = {
    "initial weights": {"model": reseeded},
    "statistics": {
        "model": other_statistics,
        "others": {"model": with_batch_norm},
    },
}


def disagreeing_run(output_dir, case, rank=1, **settings):
    """
    Trains the toy, with a change on one rank.

    Returns:
        Of each rank: its error or `None`, the sum of its parameters, and the seconds that it took.
    """
    change = (CHANGES | EQUAL | SHARDED)[case]
    change = change if int(os.environ["RANK"]) == rank else change.get("others", {})
    begin = time.monotonic()
    train, meta = toy_data(change.get("order", ("a", "b", "c")), change.get("seed", 0))
    train["b"] = change.get("rows", lambda rows: rows)(train["b"])
    meta = change.get("meta", lambda rows: rows)(meta)
    model = ToyModel(LABELS)
    change.get("model", lambda model: None)(model)
    defaults = {"num_train_epochs": 1, "ddp_timeout": 90, "metric_for_best_model": "loss"}
    args = toy_args(output_dir / change.get("folder", "run"), **defaults | settings | change.get("settings", {}))
    error = None
    try:
        trainer = MultitaskTrainer(
            model=model,
            args=args,
            train_dataset=train,
            eval_dataset={args.target_task: meta, TARGET: meta},
            callbacks=change.get("callbacks"),
            optimizers=change.get("optimizers", lambda model: (None, None))(model),
            **{"compute_metrics": accuracy, **change.get("arguments", {})},
        )
        trainer.train(resume_from_checkpoint=change.get("resume"))
        change.get("then", lambda trainer, meta: None)(trainer, meta)
    except ValueError as caught:
        error = str(caught)
    checksum = sum(p.double().sum().item() for p in model.parameters() if not hasattr(p, "full_tensor"))
    return list(zip(*gather_object([(error, checksum, time.monotonic() - begin)]), strict=True))


def relabelled_run(output_dir):
    """Trains a tiny BERT whose target has its labels in another order on rank 1. Returns every rank's error."""
    if os.environ["RANK"] == "1":
        HEADS["rte"]["labels"] = HEADS["rte"]["labels"][::-1]
    try:
        bert_trainer(output_dir).train()
    except ValueError as error:
        return gather_object([str(error)])
    return gather_object(["no error"])


def run_on_own_disks(output_dir, case):
    """Trains the toy; every rank has a folder of its own. Returns every rank's error."""
    folder = output_dir / os.environ["RANK"]
    folder.mkdir(parents=True)
    settings, error = DISKS[case]["settings"] | {"num_train_epochs": 1, "ddp_timeout": 20}, "no error"
    with chdir(folder):
        try:
            if case == "resume":
                toy_trainer("run", **settings).train()
            toy_trainer("run", **settings).train(DISKS[case].get("resume"))
        except ValueError as caught:
            error = str(caught)
    return gather_object([error])


class Unsteady:
    """A metric that is random, and differs between ranks."""

    def __init__(self):
        self.generator = torch.Generator().manual_seed(int(os.environ["RANK"]))

    def __call__(self, prediction):
        return {"accuracy": float(torch.rand(1, generator=self.generator))}


def unsteady_run(output_dir, patience=None, **settings):
    """Trains the toy by a random metric. Returns the sum of every rank's parameters, its steps and α."""
    train, meta = toy_data()
    trainer = MultitaskTrainer(
        model=ToyModel(LABELS),
        args=toy_args(output_dir, metric_for_best_model="accuracy", ddp_timeout=20, **settings),
        train_dataset=train,
        eval_dataset=meta,
        compute_metrics=Unsteady(),
        callbacks=None if patience is None else [EarlyStoppingCallback(patience)],
    )
    trainer.train()
    checksum = sum(p.double().sum().item() for p in trainer.model.parameters())
    alpha = [entry.get("alpha") for entry in trainer.history]
    return gather_object([(checksum, trainer.state.global_step, trainer.state.best_metric, alpha)])


def run_of_few_rows(output_dir, **settings):
    """Trains the toy with one row of task b; returns the predictions on 1, 2, 3 and 17 rows, and their metrics."""
    train, meta = toy_data()
    trainer = MultitaskTrainer(
        model=ToyModel(LABELS),
        args=toy_args(output_dir, **settings),
        train_dataset=train | {"b": Subset(train["b"], [7])},
        eval_dataset={TARGET: meta},
        compute_metrics=accuracy,
    )
    trainer.train()
    results = [trainer.predict(Subset(meta, range(number))) for number in (1, 2, 3, 17)]
    return [(result.predictions, result.label_ids, result.metrics["test_a_accuracy"]) for result in results]
