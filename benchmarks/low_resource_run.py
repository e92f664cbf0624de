"""Trains and tests one run of a low-resource study."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import accelerate.utils.imports
import numpy as np
import torch
import transformers
from torch import nn
from transformers import EvalPrediction
from transformers.trainer_callback import PrinterCallback

from cpu_pairs import now
from hf_alphavil import MultitaskTrainer, MultitaskTrainingArguments
from hf_alphavil.comparing.steps import steps_without
from low_resource_data import Problem, make_problem, paper_problem
from workload import Workload

DIGITS = 5
#: What a result keeps of each epoch's history.
KEPT = ("epoch", "task_weights", "alpha", "held_out_loss", "contribution", "total_contribution", "chosen_auxiliaries")

# Accelerate searches all folders of packages for an optional one in every optimizer step.
accelerate.utils.imports._is_package_available = cache(accelerate.utils.imports._is_package_available)


def score_of(prediction: EvalPrediction) -> dict[str, float]:
    """Spearman's rank correlation for float labels, 0 for a constant prediction; accuracy for others."""
    outputs, labels = np.asarray(prediction.predictions), np.asarray(prediction.label_ids)
    if labels.dtype.kind != "f":
        return {"score": float((outputs.argmax(-1) == labels).mean())}
    from scipy.stats import spearmanr

    outputs = outputs.squeeze(-1)
    return {"score": float(spearmanr(outputs, labels).statistic) if np.ptp(outputs) > 0 else 0.0}


def matthews_of(prediction: EvalPrediction) -> dict[str, float]:
    """Matthews' correlation of two classes, 0 for a constant prediction."""
    predicted, labels = np.asarray(prediction.predictions).argmax(-1), np.asarray(prediction.label_ids)
    return {"score": float(np.corrcoef(predicted, labels)[0, 1]) if np.ptp(predicted) > 0 else 0.0}


#: Scores of targets that have another than [`score_of`].
SCORES = {"cola": matthews_of}


def problem_of(spec: Mapping[str, Any], workload: Workload) -> Problem:
    """The problem that the definition of a run names."""
    if spec["suite"] == "paper":
        return paper_problem(workload, spec["target"])
    return make_problem(
        workload, *(spec[key] for key in ("target", "suite", "rows", "seed", "auxiliary_rows", "test_rows"))
    )


def train_and_test(
    spec: Mapping[str, Any],
    problem: Problem,
    make_model: Callable[[dict[str, dict[str, Any]]], nn.Module],
    **arguments: Any,
) -> dict[str, Any]:
    """
    Trains on a problem and scores the last model.

    `multitask` and `single` train on all training rows of the target; methods that fit α or weights hold out a part.
    `single` takes as many steps as all tasks together would, and a run without an auxiliary as many as its method with
    all of them. An auxiliary that is left out keeps its head, so that the others' initial weights are the same.

    Args:
        spec (`Mapping[str, Any]`):
            The run's `target`, `seed` and `settings` (training arguments). Optional are `training_seed`, the seed of
            heads and dropout, and `without`, an auxiliary.
        problem (`Problem`): The problem.
        make_model (`Callable`): Makes the model for heads by task.
        arguments (`dict`, *optional*): Arguments of [`MultitaskTrainer`] and training arguments of every run.

    Returns:
        `dict`: What the result of a run says beside its definition; see benchmarks/README.md.
    """
    transformers.logging.set_verbosity_error()
    target, settings, train = spec["target"], dict(spec["settings"]), dict(problem.train)
    size = settings["per_device_train_batch_size"]
    if settings["method"] == "single":
        steps = sum(-(-len(rows) // size) for rows in train.values())
        settings["max_steps"] = settings["num_train_epochs"] * steps
        train = {target: train[target]}
    of_trainer = {name: arguments.pop(name, None) for name in ("processing_class", "callbacks")}
    without = spec.get("without")
    if without is not None:
        del train[without]
    heads = {name: head for name, head in problem.heads.items() if name in train or name == without}
    seed = spec.get("training_seed", spec["seed"])
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    began = now()
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        trainer = MultitaskTrainer(
            model=make_model(heads),
            args=MultitaskTrainingArguments(
                output_dir=folder, target_task=target, seed=seed, report_to=[], save_strategy="no", disable_tqdm=True,
                logging_strategy="no", data_seed=spec["seed"] if "training_seed" in spec else None, **arguments,
                **settings,
            ),
            train_dataset=train,
            compute_metrics={target: SCORES.get(target, score_of)},
            **of_trainer,
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        if without is not None:
            rows = {name: len(trainer.train_datasets.get(name, problem.train[name])) for name in problem.train}
            trainer.args.max_steps = steps_without(trainer.args, rows, without)
        trainer.train()
        metrics = trainer.evaluate({target: problem.test})
    rows = {name: len(dataset) for name, dataset in trainer.train_datasets.items()}
    return _plain({
        "score": metrics[f"eval_{target}_score"],
        "test_loss": metrics[f"eval_{target}_loss"],
        "trained_rows": rows,
        "held_out_rows": 0 if trainer.meta_set is None else len(trainer.meta_set),
        "tested_rows": len(problem.test),
        "steps": trainer.state.global_step,
        "target_steps_in_a_row": max(entry["target_steps_in_a_row"] for entry in trainer.history),
        "history": [{key: entry[key] for key in KEPT if entry.get(key)} for entry in trainer.history],
        "seconds": now() - began,
        "gpu_bytes": torch.cuda.max_memory_allocated() if trainer.args.device.type == "cuda" else None,
        "device": str(trainer.args.device),
    })  # fmt: skip


def _plain(value: Any) -> Any:
    """JSON of moderate size: numbers with few digits, and null for those that are not finite."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value
