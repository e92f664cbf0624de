"""αVIL's α step by the shortest code, compared with this package's: seconds and memory.

python benchmarks/naive_alphavil.py --random_size small --tasks 5 20

The short code keeps a copy of the model for every task, writes θ0 + Σ α_t (θ_t − θ0) as tensors that autograd follows,
calls the model with them (`torch.func.functional_call`) and differentiates the loss by α. Both take the same steps on
the same rows and must find the same α. Every run is a separate process. Memory is the peak beyond the model, from the
first task's δ to the last α step.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call
from transformers import DefaultDataCollator

from alpha_cost import TASK, add_problem_options, make_model, make_problem, perturb
from cpu_pairs import now
from hf_alphavil import MultitaskModel
from memory import PRELOAD, random_rows
from results_file import add_output, write_result

TOKENS = 24
STEP_SIZE = 0.1


def naive(model: MultitaskModel, inputs: dict[str, Any], num_tasks: int, steps: int) -> tuple[Tensor, float]:
    """α after the steps and their seconds, by the short code."""
    forks = []
    for seed in range(num_tasks):
        fork = copy.deepcopy(model)
        perturb(fork, seed)
        forks.append(dict(fork.named_parameters()))
    model.eval()
    alpha = torch.ones(num_tasks, requires_grad=True, device=model.device)
    began = now()
    for _ in range(steps):
        merged = {
            name: start.detach()
            + sum(alpha[t] * (fork[name].detach() - start.detach()) for t, fork in enumerate(forks))
            for name, start in model.named_parameters()
        }
        loss = functional_call(model, merged, kwargs=inputs).loss
        (gradient,) = torch.autograd.grad(loss, alpha)
        with torch.no_grad():
            alpha -= STEP_SIZE * gradient
    return alpha.detach().cpu().double(), now() - began


def package(
    model: MultitaskModel, rows: list[dict[str, Any]], num_tasks: int, options: argparse.Namespace
) -> tuple[Tensor, float]:
    """α after the steps and their seconds, by this package."""
    problem = make_problem(model, num_tasks, perturb, rows, options)
    alpha, own = problem.start(), list(range(len(rows)))
    began = now()
    for _ in range(options.steps):
        alpha -= STEP_SIZE * problem.value_and_gradient(alpha, own)[1]
    return alpha.flatten(), now() - began


def memory(name: str) -> int:
    """A line of this process's memory status in bytes: `VmRSS`, or its peak `VmHWM`."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[name].split()[0]) * 1024


def measure(kind: str, num_tasks: int, options: argparse.Namespace) -> dict[str, Any]:
    """Runs one kind of α step in this process."""
    on_gpu = options.device == "cuda"
    torch.manual_seed(0)
    model = make_model(options)
    rows = random_rows(options.meta_rows, model.config.encoder.vocab_size, TOKENS)
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
        base = torch.cuda.memory_allocated()
    else:
        Path("/proc/self/clear_refs").write_text("5")  # sets the peak to the present size
        base = memory("VmRSS")
    if kind == "naive":
        inputs = {k: v.to(options.device) for k, v in DefaultDataCollator()(rows).items()} | {"task": TASK}
        alpha, seconds = naive(model, inputs, num_tasks, options.steps)
    else:
        alpha, seconds = package(model, rows, num_tasks, options)
    peak = torch.cuda.max_memory_allocated() if on_gpu else memory("VmHWM")
    parameters = sum(p.numel() * p.element_size() for p in model.parameters())
    return {"alpha": alpha.tolist(), "seconds": seconds, "memory": peak - base, "parameters": parameters}


def measure_apart(kind: str, num_tasks: int, options: argparse.Namespace) -> dict[str, Any]:
    """Runs [`measure`] in a separate process."""
    server = get_context("forkserver")
    server.set_forkserver_preload(PRELOAD)
    with ProcessPoolExecutor(1, mp_context=server) as pool:
        return pool.submit(measure, kind, num_tasks, options).result()


def compare(num_tasks: int, options: argparse.Namespace) -> dict[str, Any]:
    """The short code's seconds and memory, divided by the package's of the same round."""
    rounds = []
    for _ in range(options.rounds):
        of_round = {kind: measure_apart(kind, num_tasks, options) for kind in ("naive", "package")}
        found = [torch.tensor(of_round[kind]["alpha"]) for kind in ("naive", "package")]
        moved = (found[0] - 1).abs().max()
        torch.testing.assert_close(found[0], found[1], rtol=0, atol=0.05 * float(moved))
        rounds.append(of_round)
    last = rounds[-1]
    return {
        "times_as_long": statistics.median(r["naive"]["seconds"] / r["package"]["seconds"] for r in rounds),
        "times_the_memory": statistics.median(r["naive"]["memory"] / r["package"]["memory"] for r in rounds),
        "memory_in_parameters": {kind: of_kind["memory"] / of_kind["parameters"] for kind, of_kind in last.items()},
        "seconds": {kind: of_kind["seconds"] for kind, of_kind in last.items()},
    }


def main() -> int:
    """Measures, prints and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add_problem_options(parser)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=2)
    add_output(parser)
    options = parser.parse_args()
    os.environ["MALLOC_MMAP_THRESHOLD_"] = str(128 * 1024)  # as in memory.py
    write_result(
        options,
        {"delta_dtype": options.delta_dtype, "tasks": {number: compare(number, options) for number in options.tasks}},
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
