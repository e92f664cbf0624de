"""What an epoch costs as auxiliaries are added, and what the target gains, with and without a limit on their number.

python benchmarks/many_auxiliaries.py --workload out/workload --output benchmarks/results/many_auxiliaries.json

The network and the features are those of testbed.py. Two auxiliaries help: they have other rows of the target's own
task. All others do not: half have permuted labels, half are tasks on grammar and pronouns. Three runs are compared:
`all` trains every auxiliary in every epoch, `limit` at most three, and `fewer epochs` trains all of them in as many
epochs as take the steps of `limit`.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from collections.abc import Iterator
from functools import partial
from itertools import islice, product
from typing import Any

import torch
from transformers import TrainerCallback

from cpu_pairs import now
from hf_alphavil.comparing.estimates import Estimate, paired_estimate
from hf_alphavil.files.markdown import markdown_table
from low_resource_data import Problem, make_problem, sample_rows
from low_resource_run import train_and_test
from results_file import add_output, write_result
from testbed import Network
from testbed_features import Features, load_features

#: Development targets, as in presets/testbed.
TARGETS = ("stsb", "mrpc")
ROWS, AUXILIARY_ROWS, TEST_ROWS, BATCH_SIZE, NUM_EPOCHS = 200, 200, 2000, 16, 12
NUM_HELPFUL = 2
LIMIT = 3
ALL, LIMITED, FEWER = "all", "limit", "fewer epochs"


class EpochSeconds(TrainerCallback):
    """CPU seconds of each epoch."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.seconds.append(-now())

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.seconds[-1] += now()


def make_many(features: Features, target: str, count: int, seed: int) -> Problem:
    """
    Draws a target with `count` auxiliaries. Those of a smaller count are among those of a larger one.

    Args:
        features (`Features`): All tasks.
        target (`str`): The target.
        count (`int`): Number of auxiliaries, two of which help.
        seed (`int`): Seed of all draws.
    """
    workload = features.workload
    mixed = make_problem(workload, target, "mixed", ROWS, seed, NUM_HELPFUL * AUXILIARY_ROWS, TEST_ROWS)
    heads, train = {target: mixed.heads[target]}, {target: mixed.train[target]}
    for number in range(NUM_HELPFUL):
        heads[f"more_{number}"] = mixed.heads[target]
        train[f"more_{number}"] = mixed.train["more"][number * AUXILIARY_ROWS :][:AUXILIARY_ROWS]
    for name, source, shuffled in islice(_useless(target), count - NUM_HELPFUL):
        heads[name] = workload.heads[source]
        train[name] = sample_rows(workload, source, AUXILIARY_ROWS, random.Random(f"{seed} {name}"), shuffled)
    return Problem(heads, {name: features.inputs(rows) for name, rows in train.items()}, features.inputs(mixed.test))


def _useless(target: str) -> Iterator[tuple[str, str, bool]]:
    """Names, source tasks and whether labels are permuted, without an end."""
    shuffled = [task for task in ("rte", "mrpc", "stsb") if task != target]
    for number in range(sys.maxsize):
        yield f"shuffled_{number}", shuffled[number % len(shuffled)], True
        yield f"unrelated_{number}", ("cola", "wnli")[number % 2], False


def run(features: Features, target: str, count: int, seed: int, arm: str) -> dict[str, Any]:
    """Trains and tests one run."""
    problem, timer = make_many(features, target, count, seed), EpochSeconds()
    epochs = NUM_EPOCHS
    if arm == FEWER:  # auxiliaries have as many steps as one another, and the target has fewer
        epochs = max(1, round(NUM_EPOCHS * (LIMIT + 1) / (count + 1)))
    settings = {
        "method": "alphavil", "num_train_epochs": epochs, "per_device_train_batch_size": BATCH_SIZE,
        "learning_rate": 1e-3, "warmup_steps": 0.06,
        "max_auxiliaries_per_epoch": LIMIT if arm == LIMITED else None,
    }  # fmt: skip
    result = train_and_test(
        {"target": target, "seed": seed, "settings": settings}, problem, partial(Network, features.size),
        callbacks=[timer], use_cpu=True, per_device_eval_batch_size=1024, dataloader_pin_memory=False,
    )  # fmt: skip
    chosen = [task for entry in result["history"] for task in entry.get("chosen_auxiliaries", ())]
    return {
        "target": target, "auxiliaries": count, "seed": seed, "arm": arm, "score": result["score"],
        "seconds_per_epoch": statistics.mean(timer.seconds[1:]), "seconds": sum(timer.seconds), "epochs": epochs,
        "steps": result["steps"], "chosen": len(chosen), "helpful": sum(task.startswith("more") for task in chosen),
    }  # fmt: skip


def table(results: list[dict[str, Any]]) -> str:
    """Per number of auxiliaries and arm: costs, the score, the difference from `all`, and the choices that help."""
    lines = []
    for count, arm in product(sorted({r["auxiliaries"] for r in results}), (ALL, LIMITED, FEWER)):
        of_arm = [r for r in results if (r["auxiliaries"], r["arm"]) == (count, arm)]
        of_all = [r for r in results if (r["auxiliaries"], r["arm"]) == (count, ALL)]
        if not of_arm:
            continue
        mean = {key: statistics.mean(r[key] for r in of_arm) for key in ("epochs", "seconds_per_epoch", "seconds")}
        scores, baseline = ([100 * r["score"] for r in runs] for runs in (of_arm, of_all))
        chosen = sum(r["chosen"] for r in of_arm)
        lines.append([
            str(count), arm, f"{mean['epochs']:.0f}", f"{mean['seconds_per_epoch']:.2f}", f"{mean['seconds']:.1f}",
            f"{statistics.mean(scores):.1f}", "" if arm == ALL else _shown(paired_estimate(scores, baseline)),
            f"{sum(r['helpful'] for r in of_arm)} of {chosen}" if chosen else "",
        ])  # fmt: skip
    header = ["auxiliaries", "run", "epochs", "CPU s an epoch", "CPU s", "score", "− all", "choices that help"]
    return markdown_table(header, lines)


def _shown(difference: Estimate) -> str:
    return f"{difference.mean:+.1f} [{difference.low:+.1f}, {difference.high:+.1f}]"


def main() -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", required=True, help="folder of workload.py")
    parser.add_argument("--counts", type=int, nargs="+", default=(4, 8, 16), help="numbers of auxiliaries")
    parser.add_argument("--seeds", type=int, nargs="+", default=(100, 101, 102, 103))
    add_output(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    features = load_features(options.workload)
    results = []
    for problem in product(TARGETS, options.counts, options.seeds, (ALL, LIMITED, FEWER)):
        results.append(run(features, *problem))
        print(*problem, f"{results[-1]['score']:.4f}, {results[-1]['seconds']:.1f} s", file=sys.stderr, flush=True)
    write_result(options, {"rows": ROWS, "auxiliary_rows": AUXILIARY_ROWS, "limit": LIMIT, "runs": results})
    print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
