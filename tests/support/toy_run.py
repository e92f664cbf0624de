"""Runs of the toy model that tests compare."""

import copy
import os
import zlib
from functools import cache

import accelerate.utils.imports
import torch
from torch import nn
from torch.distributed.tensor import DTensor
from torch.utils.data import Dataset
from transformers import EarlyStoppingCallback

from hf_alphavil import MultitaskTrainer, MultitaskTrainingArguments
from hf_alphavil.distributed.fsdp import sharded_like
from reference.toy import ToyModel, toy_tasks

# Accelerate searches all folders of packages for an optional one in every optimizer step.
accelerate.utils.imports._is_package_available = cache(accelerate.utils.imports._is_package_available)

#: Where the toy trains: what `pytest --device` says.
DEVICE = os.environ.get("HF_ALPHAVIL_TEST_DEVICE", "cpu")
SIZES = {"a": 37, "b": 50, "c": 23}
LABELS = {"a": 2, "b": 3, "c": 2}
TARGET = "a"
META_ROWS = 40
# Dropout, batch norm, AdamW, clipping and accumulation: all that a resume, or another order of phases, could spoil.
NOISY_RUN = {
    "noisy": True,
    "optim": "adamw_torch",
    "learning_rate": 0.01,
    "weight_decay": 0.1,
    "max_grad_norm": 1.0,
    "weight_applies_to": "learning_rate",
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 2,
}


class NoisyToyModel(ToyModel):
    """The toy with dropout (hence random states) and batch norm (hence buffers), in float32."""

    def __init__(self, n_labels, **kwargs):
        super().__init__(n_labels, **kwargs)
        self.encoder = nn.Sequential(*self.encoder, nn.BatchNorm1d(self.encoder[-2].out_features), nn.Dropout(0.2))
        self.float()

    def forward(self, task, x=None, labels=None):
        return super().forward(task, x.float(), labels)


class RecordingTrainer(MultitaskTrainer):
    """Keeps θ0, every δ and the merged θ of every epoch."""

    def _new_runner(self):
        runner = super()._new_runner()
        merge = runner.method.merge
        self.epochs = []

        def recording_merge(deltas, *args):
            theta = dict(zip(deltas.names, deltas.parameters, strict=True))

            def whole_tensors(shards):
                return {name: whole(sharded_like(shard, theta[name])) for name, shard in shards.items()}

            snapshot = {
                "theta0": whole_tensors(deltas.start()) if deltas.is_open else {},
                "delta": {phase: whole_tensors(deltas.delta(phase)) for phase in deltas.phases},
            }
            record = merge(deltas, *args)
            snapshot["theta"] = {name: whole(p) for name, p in theta.items()}
            self.epochs.append(snapshot)
            return record

        runner.method.merge = recording_merge
        return runner


def whole(tensor):
    """A copy of a tensor on the CPU, gathered if it is sharded."""
    tensor = tensor.detach()
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).cpu().clone()


def toy_data(order=tuple(SIZES), seed=0):
    """Training sets in the given order of tasks, and the meta set."""
    train, meta = toy_tasks(SIZES, seed, target=TARGET, n_labels=LABELS, meta_rows=META_ROWS)
    return {task: train[task] for task in order}, meta


def toy_lengths(train):
    """A length from 5 to 60 for every row of the training sets."""
    return {task: [5 + zlib.crc32(f"{task}:{row}".encode()) % 56 for row in range(len(train[task]))] for task in train}


class WithLengths(Dataset):
    """A dataset whose rows also have `input_ids`, of given lengths, which the toy does not read."""

    def __init__(self, rows, lengths):
        self.rows, self.lengths = rows, lengths

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return {**self.rows[index], "input_ids": [0] * self.lengths[index]}


def toy_model(noisy=False):
    """The toy model, always with the same initial parameters."""
    return (NoisyToyModel if noisy else ToyModel)(LABELS)


def toy_args(output_dir, **settings):
    """Training arguments of the toy runs: by default plain SGD and the paper's settings."""
    defaults = {
        "target_task": TARGET,
        "use_cpu": DEVICE == "cpu",
        "num_train_epochs": 3,
        "learning_rate": 0.1,
        "optim": "sgd",
        "per_device_train_batch_size": 8,
        "max_grad_norm": 0.0,
        "weight_applies_to": "loss",
        "alpha_data": "validation",
        "alpha_steps": 5,
        "report_to": [],
        "save_strategy": "no",
        "logging_strategy": "no",
        "disable_tqdm": True,
    }
    if settings.get("method", "alphavil") == "alphavil":
        defaults["alphavil_preset"] = "paper"
    return MultitaskTrainingArguments(output_dir=str(output_dir), **(defaults | settings))


def accuracy(prediction):
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}


def toy_trainer(
    output_dir, order=tuple(SIZES), noisy=False, callbacks=None, trainer_class=RecordingTrainer, **settings
):
    """A trainer on the toy data; the meta set is the target's validation set.

    With `length_grouping="on"`, rows have lengths.
    """
    train, meta = toy_data(order)
    if settings.get("length_grouping") == "on":
        train = {task: WithLengths(rows, toy_lengths(train)[task]) for task, rows in train.items()}
        meta = WithLengths(meta, list(range(len(meta))))
    args = toy_args(output_dir, **settings)
    return trainer_class(
        model=toy_model(noisy),
        args=args,
        train_dataset=train,
        eval_dataset={TARGET: meta},
        compute_metrics=accuracy,
        callbacks=callbacks,
    )


def run_toy(output_dir, resume_from_checkpoint=None, **settings):
    """
    Trains the toy and returns what comparisons need.

    Args:
        output_dir: Folder of the run.
        resume_from_checkpoint: A checkpoint folder.
        settings: See `toy_trainer`.
    """
    trainer = toy_trainer(output_dir, **settings)
    trainer.train(resume_from_checkpoint=resume_from_checkpoint)
    model = trainer.accelerator.unwrap_model(trainer.model)
    state = {name: whole(tensor) for name, tensor in model.state_dict().items()}
    return {
        "history": copy.deepcopy(trainer.history),
        "epochs": trainer.epochs,
        "state": state,
        "log_history": copy.deepcopy(trainer.state.log_history),
        "sharded": {name for name, p in trainer.model.named_parameters() if isinstance(p, DTensor)},
        "rank_checksum": trainer.accelerator.gather(
            torch.stack([whole(p).double().sum() for p in trainer.model.parameters()]).sum().reshape(1)
        ).tolist(),
        "torch_rng": torch.get_rng_state(),
        "counted": {
            "best_metric": trainer.state.best_metric,
            "best_global_step": trainer.state.best_global_step,
            "global_step": trainer.state.global_step,
            "patience": [
                callback.early_stopping_patience_counter
                for callback in trainer.callback_handler.callbacks
                if isinstance(callback, EarlyStoppingCallback)
            ],
        },
    }
