"""Compares methods on low-resource problems with large test sets, by fine-tuning an encoder.

python benchmarks/low_resource.py PRESET --workload out/workload --output RESULTS      # presets/low_resource/*.yaml

The command continues where it was stopped: a line of RESULTS is a finished run. Results of several machines join by
`cat`, and `--minutes 0` prints their summary. The command needs torch, transformers and scipy, and neither `datasets`
nor `evaluate`.
"""

from __future__ import annotations

import sys
from functools import cache, partial
from typing import Any

import torch

from hf_alphavil import MultitaskModel
from low_resource_data import TASKS
from low_resource_run import problem_of, train_and_test
from study import execute_study, study_parser
from workload import MAX_LENGTH, Workload

load = cache(Workload.load)


def run(spec: dict[str, Any], workload_folder: str, device: str) -> dict[str, Any]:
    """Trains and tests one run."""
    torch.set_num_threads(1)
    workload = load(workload_folder, TASKS)
    problem = problem_of(spec, workload)
    encoder = workload.folder / "encoder"
    return train_and_test(
        spec, problem, lambda heads: MultitaskModel.from_encoder(encoder, tasks=heads, dtype=torch.float32),
        processing_class=workload.tokenizer, max_length=MAX_LENGTH, length_grouping="on",
        per_device_eval_batch_size=64 if device == "cpu" else 256, use_cpu=device == "cpu",
        dataloader_pin_memory=device != "cpu",
    )  # fmt: skip


def main() -> int:
    """Entry point; returns the exit status."""
    parser = study_parser(__doc__)
    parser.add_argument("--workload", required=True, help="folder of workload.py, with the tasks " + ", ".join(TASKS))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    return execute_study(options, partial(run, workload_folder=options.workload, device=options.device))


if __name__ == "__main__":
    sys.exit(main())
