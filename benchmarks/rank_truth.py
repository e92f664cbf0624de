"""How often `rank_auxiliaries` puts a task that must help first, on features of a frozen encoder.

python benchmarks/rank_truth.py --workload out/workload --output benchmarks/results/rank_truth.json

Problems are those of testbed.py, suite `mixed`: `more` has other rows of the target's own task, `unrelated` is another
task, and the labels of `shuffled` are permuted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from itertools import product
from typing import Any

import torch
import transformers

from hf_alphavil import MultitaskTrainingArguments
from hf_alphavil.files.markdown import markdown_table
from hf_alphavil.ranking import COST, PROBE_STEPS, ROUNDS, SAVED, TARGET_STEPS, rank_auxiliaries
from hf_alphavil.reporting.verdicts import NO_EFFECT, TOO_FEW_ROWS
from low_resource_data import make_problem
from results_file import add_output, write_result
from testbed import Network
from testbed_features import Features, load_features

#: Development problems, as in presets/testbed/verdicts.yaml.
TARGETS, ROWS, SEEDS = ("stsb", "mrpc"), (150, 300, 1000), range(100, 108)
WORDS = (SAVED, NO_EFFECT, COST, TOO_FEW_ROWS)
LEARNING_RATE, BATCH_SIZE, AUXILIARY_ROWS, TEST_ROWS = 1e-3, 16, 300, 2000


def rank(features: Features, target: str, rows: int, seed: int, **steps: int) -> dict[str, Any]:
    """Ranks the auxiliaries of one problem."""
    problem = make_problem(features.workload, target, "mixed", rows, seed, AUXILIARY_ROWS, TEST_ROWS)
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        ranking = rank_auxiliaries(
            Network(features.size, problem.heads),
            MultitaskTrainingArguments(
                output_dir=folder, target_task=target, seed=seed, learning_rate=LEARNING_RATE, report_to=[],
                per_device_train_batch_size=BATCH_SIZE, disable_tqdm=True, logging_strategy="no", use_cpu=True,
                dataloader_pin_memory=False,
            ),
            train_dataset={name: features.inputs(of_task) for name, of_task in problem.train.items()},
            **steps,
        )  # fmt: skip
    effects = {task: [effect.contribution, effect.words] for task, effect in ranking.effects.items()}
    return {"target": target, "rows": rows, "seed": seed, "held_out_rows": ranking.rows, "effects": effects}


def table(results: list[dict[str, Any]]) -> str:
    """By rows of the target, how often each task is first and has which verdict."""
    lines = []
    for rows, task in product(ROWS, ("more", "unrelated", "shuffled")):
        effects = [list(result["effects"].items()) for result in results if result["rows"] == rows]
        first = sum(of_run[0][0] == task for of_run in effects)
        words = Counter(dict(of_run)[task][1] for of_run in effects)
        shown = [str(words[word]) for word in WORDS]
        lines.append([str(rows), task, f"{first} of {len(effects)}", *shown])
    return markdown_table(["rows", "candidate", "first", *WORDS], lines)


def main() -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", required=True, help="folder of workload.py")
    for name, count in (("target_steps", TARGET_STEPS), ("probe_steps", PROBE_STEPS), ("rounds", ROUNDS)):
        parser.add_argument(f"--{name}", type=int, default=count)
    add_output(parser)
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    features = load_features(options.workload)
    steps = {name: getattr(options, name) for name in ("target_steps", "probe_steps", "rounds")}
    results = [rank(features, *problem, **steps) for problem in product(TARGETS, ROWS, SEEDS)]
    write_result(options, {**steps, "problems": results})
    print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
