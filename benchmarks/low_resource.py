"""Compares methods on low-resource problems with large test sets; many short runs, several at a time.

python benchmarks/low_resource.py benchmarks/presets/low_resource/pilot.yaml --workload out/workload --output RESULTS

The command continues where it was stopped: a line of RESULTS is a finished run. Results of several machines
join by `cat`. It needs torch and transformers, and neither `datasets` nor `evaluate`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
import yaml
from transformers import EvalPrediction
from transformers.trainer_callback import PrinterCallback

from cpu_pairs import now
from hf_alphavil import MultitaskModel, MultitaskTrainer, MultitaskTrainingArguments
from hf_alphavil.files.markdown import markdown_table
from low_resource_data import TASKS, make_problem
from memory import PRELOAD
from workload import MAX_LENGTH, Workload


def score_of(prediction: EvalPrediction) -> dict[str, float]:
    """Spearman's rank correlation for float labels, accuracy for others."""
    outputs, labels = np.asarray(prediction.predictions), np.asarray(prediction.label_ids)
    if labels.dtype.kind != "f":
        return {"score": float((outputs.argmax(-1) == labels).mean())}
    from scipy.stats import spearmanr

    return {"score": float(np.nan_to_num(spearmanr(outputs.squeeze(-1), labels).statistic))}


def specs_of(preset: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The runs of a preset, seed by seed, so that a stopped study has compared all methods on some seeds."""
    for seed, target, suite, (name, method) in product(
        preset["seeds"], preset["targets"], preset["suites"], preset["methods"].items()
    ):
        settings = preset["settings"] | method
        yield {"target": target, "suite": suite, "rows": preset["rows"][target], "seed": seed, "name": name,
               "settings": settings}  # fmt: skip


def id_of(spec: dict[str, Any]) -> str:
    """A digest of a run's definition."""
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:12]


def run(spec: dict[str, Any], workload_folder: str, device: str) -> dict[str, Any]:
    """Trains and tests one run."""
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    workload = Workload.load(workload_folder, TASKS)
    problem = make_problem(workload, spec["target"], spec["suite"], spec["rows"], spec["seed"])
    settings = dict(spec["settings"])
    train = dict(problem.train)
    if settings.get("method") == "single":
        # The target alone takes as many steps as all tasks together would.
        size = settings["per_device_train_batch_size"]
        steps = sum(-(-len(rows) // size) for rows in train.values())
        settings["max_steps"] = settings["num_train_epochs"] * steps
        train = {spec["target"]: train[spec["target"]]}
    began = now()
    torch.manual_seed(spec["seed"])
    with tempfile.TemporaryDirectory() as folder:
        trainer = MultitaskTrainer(
            model=MultitaskModel.from_encoder(
                workload.folder / "encoder", tasks={name: problem.heads[name] for name in train}, dtype=torch.float32
            ),
            args=MultitaskTrainingArguments(
                output_dir=folder, target_task=spec["target"], seed=spec["seed"], max_length=MAX_LENGTH,
                use_cpu=device == "cpu", report_to=[], save_strategy="no", disable_tqdm=True, logging_strategy="no",
                length_grouping="on", per_device_eval_batch_size=64, dataloader_pin_memory=device != "cpu", **settings,
            ),
            train_dataset=train,
            processing_class=workload.tokenizer,
            compute_metrics={spec["target"]: score_of},
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        scores = trainer.evaluate({spec["target"]: problem.test})
    target_rows = len(trainer.train_datasets[spec["target"]])
    return {
        "id": id_of(spec),
        **spec,
        "score": scores[f"eval_{spec['target']}_score"],
        "test_rows": len(problem.test),
        "target_steps_in_a_row": -(-target_rows // settings["per_device_train_batch_size"]),
        "alpha": [entry.get("alpha", {}) for entry in trainer.history],
        "task_weights": [entry.get("task_weights", {}) for entry in trainer.history],
        "seconds": now() - began,
        "device": device,
    }


def summary(results: list[dict[str, Any]]) -> str:
    """Mean score, and number of runs, by method (rows) and problem (columns)."""
    problems = sorted({(r["target"], r["suite"]) for r in results})
    names = list(dict.fromkeys(r["name"] for r in results))
    rows = []
    for name in names:
        cells = [name]
        for problem in problems:
            scores = [r["score"] for r in results if r["name"] == name and (r["target"], r["suite"]) == problem]
            cells.append(f"{100 * statistics.mean(scores):.1f} ({len(scores)})" if scores else "")
        rows.append(cells)
    return markdown_table(["method", *(f"{target} {suite}" for target, suite in problems)], rows)


def main() -> int:
    """Runs what is missing and prints the summary."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("preset", type=Path)
    parser.add_argument("--workload", required=True, help="folder of workload.py, with the tasks " + ", ".join(TASKS))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="no run starts after this time")
    parser.add_argument("--shard", default="0/1", help="i/n: every n-th run, from the i-th")
    parser.add_argument("--output", type=Path, required=True, help="JSON lines, one per finished run")
    options = parser.parse_args()
    ends = time.monotonic() + 60 * options.minutes
    index, count = map(int, options.shard.split("/"))
    specs = list(specs_of(yaml.safe_load(options.preset.read_text())))[index::count]
    results = [json.loads(line) for line in options.output.read_text().splitlines()] if options.output.exists() else []
    done = {result["id"] for result in results}
    waiting = [spec for spec in specs if id_of(spec) not in done]
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(PRELOAD)
    failed = 0
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(options.jobs, mp_context=server) as pool, options.output.open("a") as file:
        running: dict[Any, dict[str, Any]] = {}
        while waiting or running:
            while waiting and len(running) < options.jobs and time.monotonic() < ends:
                spec = waiting.pop(0)
                running[pool.submit(run, spec, options.workload, options.device)] = spec
            if not running:
                break
            future = next(as_completed(running))
            spec = running.pop(future)
            try:
                result = future.result()
            except Exception as error:
                failed += 1
                print(f"{spec['target']} {spec['suite']} {spec['name']}: {error!r}", file=sys.stderr, flush=True)
                continue
            results.append(result)
            file.write(json.dumps(result) + "\n")
            file.flush()
            label = f"{spec['target']} {spec['suite']} {spec['name']} seed {spec['seed']}"
            print(f"{label}: {result['score']:.4f}, {result['seconds']:.0f} s", file=sys.stderr, flush=True)
    print(summary(results))
    print(f"{len(waiting)} runs left, {failed} failed", file=sys.stderr)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
