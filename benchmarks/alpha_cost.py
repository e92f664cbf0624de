"""CPU seconds of an α step, divided by those of its forward and backward passes alone.

python benchmarks/alpha_cost.py --model_name_or_path ENCODER --tasks 5 20
python benchmarks/alpha_cost.py --random_size base --tasks 5

An α step sets the model to θ0 + Σ α_t δ_t and computes the target's loss on meta rows, and its derivative with respect
to each of the T values of α. The passes alone compute the loss and its gradient on the same micro-batches, as a
training step with gradient accumulation does. Going back to θ0 and recording a δ are measured as well. All take turns.
"""

from __future__ import annotations

import argparse
import resource
import sys
from collections.abc import Callable
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from transformers import DefaultDataCollator

from cpu_pairs import now, ratios
from hf_alphavil import MultitaskModel
from hf_alphavil.data import TaskDataset
from hf_alphavil.methods import DeltaBank
from hf_alphavil.methods.alpha_problem import AlphaProblem
from hf_alphavil.modeling import MultitaskConfig
from hf_alphavil.objectives.forward import deterministic_mode, loss_of, plain_forward
from hf_alphavil.objectives.loss import TaskObjective
from memory import RANDOM_SIZES, encoder_config, random_rows
from results_file import add_output, write_result

TASK = "target"
PASSES = "passes"


def add_problem_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of [`make_problem`] and of its model."""
    encoder = parser.add_mutually_exclusive_group(required=True)
    encoder.add_argument("--model_name_or_path")
    encoder.add_argument("--random_size", choices=RANDOM_SIZES)
    parser.add_argument("--tasks", type=int, nargs="+", default=[5, 20])
    parser.add_argument("--meta_rows", type=int, default=64)
    parser.add_argument("--batch_size", type=int, default=16, help="rows per micro-batch of the package")
    parser.add_argument("--delta_dtype", default="float32")


def make_model(options: argparse.Namespace) -> MultitaskModel:
    """A model of random weights with the target's head, on the device."""
    config = encoder_config(options.model_name_or_path, options.random_size)
    heads = {TASK: {"kind": "sequence_classification", "labels": ["no", "yes"]}}
    return MultitaskModel(MultitaskConfig(encoder=config, tasks=heads)).to(options.device)


def make_problem(
    model: MultitaskModel,
    num_tasks: int,
    train: Callable[[nn.Module, int], None],
    rows: list[dict[str, Any]],
    options: argparse.Namespace,
) -> AlphaProblem:
    """
    The α problem of an epoch, as a run would have it.

    Args:
        model (`MultitaskModel`): The model, at θ0.
        num_tasks (`int`): Number of tasks, T.
        train (`Callable`): Changes the model as the phase of a number does.
        rows (`list[dict]`): The meta set.
        options (`argparse.Namespace`): See [`add_problem_options`].
    """
    phases = [f"{number:03d}" for number in range(num_tasks)]  # the bank sorts them by name
    bank = DeltaBank(model, dtype=options.delta_dtype)
    bank.open(phases)
    for number, phase in enumerate(phases):
        bank.rewind()
        train(model, number)
        bank.record(phase)
    objective = TaskObjective(
        model,
        bank.parameters,
        TaskDataset(rows, TASK),
        DefaultDataCollator(),
        lambda batch: {**{k: v.to(model.device) for k, v in batch.items() if isinstance(v, Tensor)}, "task": TASK},
        Accelerator(cpu=options.device == "cpu"),
        options.batch_size,
    )
    return AlphaProblem(bank, objective)


def perturb(model: nn.Module, number: int) -> None:
    """Moves every parameter at random, as the phase of a number might."""
    torch.manual_seed(number)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=1e-3)


class Step:
    """An α step of T tasks with random deltas, and its parts."""

    def __init__(self, model: MultitaskModel, num_tasks: int, arguments: argparse.Namespace) -> None:
        self.model, self.arguments = model, arguments
        rows = random_rows(arguments.meta_rows, model.config.encoder.vocab_size, arguments.tokens)
        self.problem = make_problem(model, num_tasks, perturb, rows, arguments)
        self.bank, self.objective = self.problem.deltas, self.problem.meta
        self.rows = list(range(arguments.meta_rows))

    def alpha_step(self) -> None:
        """The merge, the loss and its derivatives."""
        self.problem.value_and_gradient(self.problem.start(), self.rows)

    def passes(self) -> None:
        """The forward and backward passes of the same micro-batches."""
        size, objective = self.arguments.batch_size, self.objective
        with deterministic_mode(self.model):
            for first in range(0, len(self.rows), size):
                micro_batch = [objective.dataset[row] for row in self.rows[first : first + size]]
                inputs = objective.prepare_inputs(objective.collator(micro_batch))
                loss = loss_of(plain_forward(self.model, objective.accelerator, inputs))
                (loss * (len(micro_batch) / len(self.rows))).backward()
        self.model.zero_grad(set_to_none=True)

    def merge(self) -> None:
        """θ0 + Σ α_t δ_t."""
        self.bank.combine(self.problem.start())

    def record(self) -> None:
        """A phase's return to θ0, and the δ at its end."""
        self.bank.rewind()
        self.bank.record(self.bank.phases[-1])


def seconds(function: Callable[[], None]) -> float:
    """CPU seconds of one call."""
    began = now()
    function()
    return now() - began


def main() -> int:
    """Measures, prints and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add_problem_options(parser)
    parser.add_argument("--tokens", type=int, default=64, help="tokens per row")
    parser.add_argument("--rounds", type=int, default=5)
    add_output(parser)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    model = make_model(arguments)
    result: dict[str, Any] = {k: v for k, v in vars(arguments).items() if k not in ("output", "device")}
    result["parameters"] = sum(p.numel() for p in model.parameters())
    result["times_as_long"] = {}
    for number in arguments.tasks:
        step = Step(model, number, arguments)
        parts = {PASSES: step.passes, "alpha step": step.alpha_step, "merge": step.merge, "record": step.record}
        for function in parts.values():  # warms up
            function()
        alternatives = {name: lambda part=part: seconds(part) for name, part in parts.items()}
        result["times_as_long"][number] = ratios(alternatives, PASSES, arguments.rounds)
        del step, parts, alternatives
    # Linux reports KiB.
    result["peak"] = (
        torch.cuda.max_memory_allocated()
        if arguments.device == "cuda"
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    write_result(arguments, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
