"""How αVIL's price grows with the number of tasks, the size of the model and the number of rows.

python benchmarks/curves.py --output out/curves.json

Models and rows are random. Every point compares an epoch of αVIL with a plain Trainer on the same batches, as
benchmarks/epoch_cost.py does, and states CPU seconds: of the epoch, of α's passes, and of what this package adds.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig

from epoch_cost import measure
from hf_alphavil import MultitaskModel
from hf_alphavil.modeling import MultitaskConfig
from memory import random_rows
from results_file import add_output, write_result
from workload import Workload

TOKENS, VOCABULARY = 24, 8000
#: Hidden size and layers by millions of parameters.
SIZES = {5: (256, 4), 14: (384, 6), 43: (512, 12), 91: (768, 12), 125: (768, 17)}


@dataclass
class RandomWorkload(Workload):
    """
    A BERT with random weights, and tasks of random rows of one length.

    Args:
        millions (`int`): The model's parameters, a key of `SIZES`.
    """

    millions: int = 5

    @classmethod
    def of(cls, millions: int, num_tasks: int, num_rows: int) -> RandomWorkload:
        """A workload of the given size, with as many rows in every task."""
        names = [f"task{number}" for number in range(num_tasks)]
        heads = {name: {"kind": "sequence_classification", "labels": ["no", "yes"]} for name in names}
        return cls(Path(), heads, {name: random_rows(num_rows, VOCABULARY, TOKENS) for name in names}, {}, millions)

    @property
    def tokenizer(self) -> None:  # type: ignore[override]
        """None: rows need no padding."""
        return None

    def model(self, seed: int = 0) -> MultitaskModel:
        """A new model."""
        torch.manual_seed(seed)
        hidden, layers = SIZES[self.millions]
        config = BertConfig(
            vocab_size=VOCABULARY, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=hidden // 64,
            intermediate_size=4 * hidden,
        )  # fmt: skip
        return MultitaskModel(MultitaskConfig(encoder=config, tasks=self.heads))


def point(millions: int, num_tasks: int, num_rows: int, options: argparse.Namespace) -> dict[str, Any]:
    """Measures one point of a curve."""
    options.rows = num_rows
    workload = RandomWorkload.of(millions, num_tasks, num_rows)
    found = measure(workload, ["alphavil"], options)
    cost = found["variants"]["alphavil"]
    print(f"{millions} M parameters, {num_tasks} tasks, {num_rows} rows: {cost}", file=sys.stderr, flush=True)
    return {
        "millions": millions,
        "parameters": sum(p.numel() for p in workload.model().parameters()),
        "tasks": num_tasks,
        "rows_per_task": num_rows,
        "steps": found["steps"],
        "alpha_passes": cost["passes"],
        "plain_seconds": found["plain_seconds"],
        "alpha_seconds": cost["passes_seconds"],
        "own_seconds": cost["own_seconds"],
        "times_as_long": cost["times_as_long"]["median"],
    }


def main() -> int:
    """Measures, prints and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--tasks", type=int, nargs="+", default=[2, 5, 10, 20])
    parser.add_argument("--millions", type=int, nargs="+", choices=list(SIZES), default=[5, 14, 43, 125])
    parser.add_argument("--rows", type=int, nargs="+", default=[32, 320], help="rows per task of the curve over rows")
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--bf16", action="store_true")
    parser.set_defaults(max_phase_steps=None)
    add_output(parser)
    options = parser.parse_args()
    rows, smallest = options.rows, options.millions[0]
    curves = {
        "tasks": [point(smallest, number, rows[0], options) for number in options.tasks],
        "parameters": [point(millions, 2, rows[0], options) for millions in options.millions],
        "rows": [point(smallest, 2, number, options) for number in rows],
    }
    write_result(options, {"tokens_per_row": TOKENS, "batch_size": options.batch_size, "curves": curves})
    return 0


if __name__ == "__main__":
    sys.exit(main())
