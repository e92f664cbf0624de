"""Compares methods on low-resource problems by training a small network on features of a frozen encoder.

python benchmarks/testbed.py benchmarks/presets/testbed/development.yaml --workload out/workload --output RESULTS

The problems are those of low_resource.py, and a run takes seconds. The command continues where it was stopped: a line
of RESULTS is a finished run. Results join by `cat`, and `--minutes 0` prints their summary.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from low_resource_data import TASKS
from low_resource_run import problem_of, train_and_test
from study import execute_study, study_parser
from testbed_features import load_features

#: Width of the two shared layers.
WIDTHS = (128, 64)
DROPOUT = 0.1


class Network(nn.Module):
    """
    Two shared layers and a linear head per task.

    Args:
        num_features (`int`): Number of features of a row.
        heads (`dict[str, dict]`): Head description by task; a head without labels is a regression.
    """

    def __init__(self, num_features: int, heads: dict[str, dict[str, Any]]) -> None:
        super().__init__()
        first, second = WIDTHS
        self.encoder = nn.Sequential(
            nn.Linear(num_features, first), nn.GELU(), nn.Dropout(DROPOUT),
            nn.Linear(first, second), nn.GELU(), nn.Dropout(DROPOUT),
        )  # fmt: skip
        self.tasks = nn.ModuleDict(
            {name: nn.Linear(second, len(head["labels"] or "1")) for name, head in heads.items()}
        )

    def forward(self, task: str, x: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        logits = self.tasks[task](self.encoder(x))
        if labels is None:
            return {"logits": logits}
        is_regression = labels.is_floating_point()
        loss = F.mse_loss(logits.squeeze(-1), labels) if is_regression else F.cross_entropy(logits, labels)
        return {"loss": loss, "logits": logits}


def run(spec: dict[str, Any], workload_folder: str) -> dict[str, Any]:
    """Trains and tests one run."""
    torch.set_num_threads(1)
    features = load_features(workload_folder)
    problem = problem_of(spec, features.workload)
    problem = replace(
        problem,
        train={name: features.inputs(rows) for name, rows in problem.train.items()},
        test=features.inputs(problem.test),
    )
    return train_and_test(
        spec, problem, partial(Network, features.size), use_cpu=True, per_device_eval_batch_size=1024,
        dataloader_pin_memory=False,
    )  # fmt: skip


def main() -> int:
    """Entry point; returns the exit status."""
    parser = study_parser(__doc__)
    parser.add_argument("--workload", required=True, help="folder of workload.py, with the tasks " + ", ".join(TASKS))
    options = parser.parse_args()
    load_features(options.workload)  # once, before the workers need them
    return execute_study(options, partial(run, workload_folder=options.workload))


if __name__ == "__main__":
    sys.exit(main())
