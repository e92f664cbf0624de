"""Compares αVIL with multitask and single-task training on the demo suite, over seeds.

python benchmarks/demo_suite.py --seeds 20 21 22 23 24 --output demo_suite.json

The demo's settings were chosen on seeds 0 to 4 and 10 to 13, so only results on other seeds are meaningful.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from statistics import mean
from typing import Any

import transformers
from datasets import disable_progress_bars

from hf_alphavil.comparing.versions import versions
from hf_alphavil.demo.run import DEMO_METHODS, DEMO_SETTINGS, run_demo_method
from hf_alphavil.demo.suite import DEMO_TARGET, demo_encoder, demo_tasks

#: Seeds that were not used to choose any constant.
FRESH_SEEDS = (20, 21, 22, 23, 24)


def run_seed(seed: int) -> dict[str, Any]:
    """
    Trains the suite of one seed with every method.

    Args:
        seed (`int`): Seed of the suite, the encoder and the training.

    Returns:
        `dict`: The seed, the target's test accuracy by method, and αVIL's final task weights.
    """
    accuracy, weights = {}, {}
    tasks = demo_tasks(seed)
    with tempfile.TemporaryDirectory() as folder:
        encoder = Path(folder) / "encoder"
        demo_encoder(encoder, seed)
        for method in DEMO_METHODS:
            accuracy[method], history = run_demo_method(
                method, tasks, encoder, Path(folder) / method, seed=seed, use_cpu=True, disable_tqdm=True
            )
            if method == "alphavil":
                weights = history[-1]["task_weights"]
    return {"seed": seed, "accuracy": accuracy, "weights": weights}


def check_claims(results: list[dict[str, Any]]) -> dict[str, bool]:
    """
    Checks the demo's claims.

    Args:
        results (`list[dict]`): One entry per seed, from [`run_seed`].

    Returns:
        `dict[str, bool]`: Whether each claim holds, by its text.
    """
    weights = [result["weights"] for result in results]
    means = mean_accuracies(results)
    return {
        "helpful weighs more than unrelated in every seed": all(w["helpful"] > w["unrelated"] for w in weights),
        "helpful weighs more than noise in every seed": all(w["helpful"] > w["noise"] for w in weights),
        "αVIL's mean accuracy exceeds multitask's": means["alphavil"] > means["multitask"],
    }


def mean_accuracies(results: list[dict[str, Any]]) -> dict[str, float]:
    """
    Mean test accuracy of every method.

    Args:
        results (`list[dict]`): One entry per seed, from [`run_seed`].
    """
    return {method: mean(result["accuracy"][method] for result in results) for method in DEMO_METHODS}


def format_results(results: list[dict[str, Any]]) -> str:
    """
    Formats accuracies and final weights per seed, their means, and the claims.

    Args:
        results (`list[dict]`): One entry per seed, from [`run_seed`].
    """
    names = list(results[0]["weights"])
    lines = [
        "| seed | " + " | ".join([*DEMO_METHODS, *(f"w {name}" for name in names)]) + " |",
        "|---" * (1 + len(DEMO_METHODS) + len(names)) + "|",
    ]
    for result in results:
        cells = [f"{result['accuracy'][method]:.4f}" for method in DEMO_METHODS]
        cells += [f"{result['weights'][name]:.2f}" for name in names]
        lines.append(f"| {result['seed']} | " + " | ".join(cells) + " |")
    cells = [f"{value:.4f}" for value in mean_accuracies(results).values()]
    cells += [f"{mean(result['weights'][name] for result in results):.2f}" for name in names]
    lines += ["| mean | " + " | ".join(cells) + " |", ""]
    lines += [f"{'holds' if holds else 'FAILS'}: {claim}" for claim, holds in check_claims(results).items()]
    return "\n".join(lines)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=list(FRESH_SEEDS))
    parser.add_argument("--output", type=Path, help="JSON file to write")
    options = parser.parse_args()
    disable_progress_bars()
    transformers.logging.set_verbosity_error()
    results = []
    for seed in options.seeds:
        results.append(run_seed(seed))
        print(f"seed {seed}: {results[-1]['accuracy']}", file=sys.stderr, flush=True)
    print(f"Accuracy on the test rows of `{DEMO_TARGET}`, and αVIL's final task weights\n")
    print(format_results(results))
    if options.output:
        report = {
            "command": " ".join(["python", *sys.argv]),
            "versions": versions(),
            "settings": DEMO_SETTINGS,
            "results": results,
            "mean_accuracy": mean_accuracies(results),
            "claims": check_claims(results),
        }
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
