"""Random combinations of arguments on the toy: each trains, or is refused before training by the name of a setting."""

import math
import random
import signal
import warnings

import pytest
import torch
from transformers import TrainerCallback

from hf_alphavil.methods import METHODS
from support.toy_run import LABELS, SIZES, TARGET, RecordingTrainer, accuracy, toy_args, toy_data, toy_model

NAN = float("nan")

#: Values by field: most of them can train; of some fields, others cannot.
VALUES = {
    "method": [*METHODS, "alphavil", "alphavil", "alphavil", "alphavil", "unknown"],
    "target_task": ["a", "b", "c", "d", ""],
    "regression_scale": ["none", "standardize", "auto"],
    "alpha_steps": [0, 1, 7, -1],
    "alpha_learning_rate": [0.01, 1.0, 0.0, NAN],
    "alpha_tolerance": [0.0, 0.01, 1.0, NAN],
    "alpha_optimizer": ["auto", "sgd", "adam", "lbfgs", "gradient_free", "secant", "none"],
    "alpha_objective": ["loss", "metric", "entropy"],
    "alpha_granularity": ["task", "layer"],
    "alpha_l1": [0.0, 0.1, -0.1, NAN],
    "alpha_l2": [0.0, 0.1, math.inf],
    "alpha_init": ["1", "mean", 0.5, "0", "nan"],
    "alpha_min": [0.0, 0.9, 1.5, NAN],
    "alpha_max": [2.0, 1.0, 0.2],
    "alpha_batch_size": [1, 64, 1000, 0],
    "per_device_meta_batch_size": [None, 3, 1000],
    "alpha_data": ["train_holdout", "train", "validation", "test"],
    "alpha_holdout_fraction": [0.1, 0.3, 0.5, 0.99, 1.0, NAN],
    "alpha_acceptance": ["fit", "held_out"],
    "alpha_applies_to": ["all", "encoder"],
    "weight_applies_to": ["learning_rate", "loss"],
    "task_weights": [{"a": 2.0, "b": 0.5}, {"c": 0.05}, {"d": 1.0}, ["a=2"], ["b=0"]],
    "min_task_weight": [0.0, 0.1, 1.0, NAN],
    "min_target_weight": [0.5, 1.0, 0.0, NAN],
    "max_task_weight": [1.0, 2.0, 0.5],
    "max_weight_change": [0.1, 5.0, 0.0],
    "normalize_task_weights": ["none", "all", "auxiliaries", "target", True],
    "weight_average": [0.0, 0.9, 1.0],
    "prune_below": [0.2, 0.5, 1.0],
    "prune_patience": [1, 2, 0],
    "delta_fraction": [0.1, 0.5, 1.0, 0.0, NAN],
    "max_phase_steps": [1, 3, 100, 0],
    "phase_lengths": ["proportional", "equal", "temperature", "weights"],
    "joint_fraction": [0.0, 0.5, 0.99, 1.0],
    "target_phase": ["fork", "last", "both", "first"],
    "merge_deltas": [True, False],
    "rounds_per_epoch": [1, 2, 0],
    "max_auxiliaries_per_epoch": [None, 1, 2, 0],
    "final_target_epochs": [0, 1, -1],
    "phase_optimizer_state": ["per_task", "reset"],
    "optimizer_state_device": ["device", "cpu"],
    "optimizer_state_dtype": ["float32", "bfloat16"],
    "delta_device": ["device", "cpu"],
    "delta_dtype": ["float32", "bfloat16"],
    "phase_parallel": ["off", "auto", "on"],
    "phase_group_size": [1, 2],
    "task_sampling": ["proportional", "uniform", "temperature", "weights"],
    "sampling_temperature": [0.5, 5.0, math.inf, 0.0, NAN],
    "num_train_epochs": [1, 2, 1.5, 0, NAN],
    "max_steps": [-1, 1, 7, 0, -2],
    "per_device_train_batch_size": [1, 3, 8, 100, 0],
    "per_device_eval_batch_size": [1, 8, 0],
    "gradient_accumulation_steps": [1, 2, 3, 0],
    "eval_accumulation_steps": [1, 3, 0],
    "learning_rate": [0.0, 0.01, 0.1, -0.1, NAN],
    "lr_scheduler_type": [
        "linear", "cosine", "constant", "constant_with_warmup", "inverse_sqrt", "polynomial", "warmup_stable_decay",
        "cosine_with_min_lr", "reduce_lr_on_plateau", "greedy",
    ],
    "lr_scheduler_kwargs": [{"num_decay_steps": 2}, {"min_lr": 0.01}, {"unknown": 1}],
    "warmup_steps": [0, 2, 0.3],
    "optim": ["sgd", "adamw_torch", "adafactor", "rmsprop", "adagrad"],
    "optim_args": ["momentum=0.9", "momentum", "unknown=1"],
    "max_grad_norm": [0.0, 0.1, None, math.inf],
    "weight_decay": [0.0, 0.1],
    "label_smoothing_factor": [0.0, 0.1],
    "neftune_noise_alpha": [5.0],
    "activation_checkpointing": [False, True],
    "bf16": [False, True],
    "eval_strategy": ["no", "epoch", "steps"],
    "eval_steps": [1, 4, 0.5],
    "eval_delay": [0, 3],
    "eval_on_start": [True, False],
    "eval_auxiliaries": [True, False],
    "hub_export": ["multitask", "target", "both"],
    "eval_do_concat_batches": [True, False],
    "batch_eval_metrics": [False, True],
    "prediction_loss_only": [True, False],
    "include_for_metrics": [["loss"], ["inputs"]],
    "save_strategy": ["no", "epoch", "steps", "best"],
    "save_steps": [1, 3, 0.4],
    "save_total_limit": [1, 2],
    "save_only_model": [True, False],
    "load_best_model_at_end": [True, False],
    "metric_for_best_model": ["loss", "accuracy", "f1", "b_accuracy", "eval_b_loss", "d_loss"],
    "greater_is_better": [True, False],
    "logging_strategy": ["no", "epoch", "steps"],
    "logging_steps": [1, 5, 0.5, 0],
    "seed": [0, 2**32 - 1, -1],
    "data_seed": [0, 2**32],
    "train_sampling_strategy": ["random", "group_by_length", "sequential"],
    "dataloader_drop_last": [False, True],
    "remove_unused_columns": [True, False],
    "label_names": [["labels"], ["other"]],
    "auto_find_batch_size": [True, False],
    "enable_jit_checkpoint": [True, False],
    "torch_empty_cache_steps": [1, 0],
    "log_level": ["error", "loud"],
    "use_liger_kernel": [False, True],
    "ignore_data_skip": [False, True],
}  # fmt: skip
#: Fields that the trainer resolves; every other one keeps its value.
RESOLVED = {"metric_for_best_model", "greater_is_better", "target_task", "alpha_init", "task_weights"}
#: Words of messages for their settings, where a message does not spell the field.
WORDS = {
    "method": ["method", "epoch", "auxiliar"],
    "lr_scheduler_type": ["schedule"],
    "optim": ["optim", "Adagrad"],
    "target_task": ["task", "target"],
    "optim_args": ["unexpected keyword argument", "Unknown"],
    "alpha_data": ["test rows", "held-out"],
}


class CountSteps(TrainerCallback):
    def __init__(self):
        self.count = 0

    def on_step_begin(self, *args, **kwargs):
        self.count += 1


def combination(seed):
    """Settings of up to twelve fields; half of the combinations have only values that come first."""
    draw = random.Random(seed)
    names = draw.sample(sorted(VALUES), draw.randint(1, 12))
    return {name: draw.choice(VALUES[name][: 2 if seed % 2 else None]) for name in names}


def interrupted(signum, frame):
    raise TimeoutError("the run hangs")


def try_combination(seed, folder):
    """Trains with a random combination, or is refused; returns whether it trained."""
    settings = combination(seed)
    steps = CountSteps()
    signal.signal(signal.SIGALRM, interrupted)
    signal.alarm(60)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            train, meta = toy_data()
            defaults = {"num_train_epochs": 1, "max_phase_steps": 2, "alpha_steps": 2, "logging_strategy": "epoch"}
            args = toy_args(folder, **defaults | settings)
            trainer = RecordingTrainer(
                model=toy_model(), args=args, train_dataset=train, compute_metrics=accuracy, callbacks=[steps],
                eval_dataset={TARGET: meta, "b": train["b"]},
            )  # fmt: skip
            trainer.train()
    except Exception as error:
        words = [word for name in settings for word in (name, *WORDS.get(name, []))]
        is_clear = isinstance(error, (ValueError, TypeError)) and any(word in str(error) for word in words)
        if not is_clear or steps.count:
            raise AssertionError(f"{settings}: {type(error).__name__} after {steps.count} steps: {error}") from error
        return False
    finally:
        signal.alarm(0)
    kept = {name: getattr(args, name) for name in settings if name not in RESOLVED}
    changed = [name for name, value in kept.items() if value != settings[name]]
    assert not changed, f"{settings}: {changed} were changed to {kept}"
    assert trainer.state.global_step >= 1
    assert all(bool(torch.isfinite(p).all()) for p in trainer.model.parameters()), settings
    assert set(trainer.train_datasets) <= set(LABELS) == set(SIZES)
    return True


def try_many(seeds, folder):
    failed, trained = [], 0
    for seed in seeds:
        try:
            trained += try_combination(seed, folder / str(seed))
        except AssertionError as error:
            failed.append(f"{seed}: {error}")
    assert not failed, f"{len(failed)} of {len(seeds)}:\n" + "\n".join(failed)
    assert 0.2 * len(seeds) < trained < 0.9 * len(seeds), trained


def test_random_combinations(tmp_path):
    try_many(range(60), tmp_path)


@pytest.mark.slow
def test_many_random_combinations(tmp_path):
    try_many(range(60, 260), tmp_path)
