"""The parts of bench.py: which script runs with which options, and what is wanted of its result."""

from __future__ import annotations

import argparse
import operator
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

_SIGNS: dict[str, Callable[[float, float], bool]] = {"≤": operator.le, "≥": operator.ge}


@dataclass(frozen=True)
class Row:
    """
    A line of the table.

    Args:
        what (`str`): What was measured.
        measured (`float`): The value.
        sign (`str`, *optional*): `"≤"` or `"≥"`: on which side of the target the value should be.
        target (`float`, *optional*): The target. Without one, the value is only told.
    """

    what: str
    measured: float
    sign: str | None = None
    target: float | None = None

    @property
    def met(self) -> bool | None:
        """`bool`, *optional*: Whether the target was met. `None` without a target."""
        return None if self.sign is None or self.target is None else _SIGNS[self.sign](self.measured, self.target)

    @property
    def target_text(self) -> str:
        """`str`: Sign and target."""
        return "" if self.met is None else f"{self.sign} {self.target:g}"

    @property
    def measured_text(self) -> str:
        """`str`: The value with three digits."""
        return f"{self.measured:.3g}"

    @property
    def met_text(self) -> str:
        """`str`: `yes` or `no`."""
        return {None: "", True: "yes", False: "no"}[self.met]


@dataclass(frozen=True)
class Part:
    """
    A script and what is read from its result.

    Args:
        name (`str`): The part's name.
        script (`str`): A file of this folder.
        arguments (`Callable`): Its options, from those of bench.py.
        rows (`Callable`): Lines of the table, from its result.
        devices (`tuple[str, ...]`, *optional*): Where the part makes sense.
    """

    name: str
    script: str
    arguments: Callable[[argparse.Namespace], list[str]]
    rows: Callable[[dict[str, Any]], Iterator[Row]]
    devices: tuple[str, ...] = ("cpu", "cuda")


def _options(
    *always: str, cpu: str = "", cuda: str = "", tiny: str = "", chooses_device: bool = True
) -> Callable[[argparse.Namespace], list[str]]:
    """Options of a script: those that are always passed, and those for the device or for a tiny run."""

    def arguments(options: argparse.Namespace) -> list[str]:
        further = tiny if options.tiny else {"cpu": cpu, "cuda": cuda}[options.device]
        filled = [
            text.format(workload=options.workload, data_dir=options.data_dir)
            for text in (*always, *shlex.split(further))
        ]
        return ["--device", options.device, *filled] if chooses_device else filled

    return arguments


_WORKLOAD = ("--workload", "{workload}")


def _throughput(result: dict[str, Any]) -> Iterator[Row]:
    paths = result["data_paths"]
    if "padded to 128" in paths:
        yield Row("rows/s: ours / padded to 128", paths["padded to 128"]["times_as_long"]["median"], "≥", 2.5)
    if "random batches" in paths:
        yield Row("rows/s: ours / random batches", paths["random batches"]["times_as_long"]["median"])
    if "bfloat16" in paths:
        yield Row("rows/s: bf16 / float32", 1 / paths["bfloat16"]["times_as_long"]["median"])
    yield Row("padded / real tokens, five tasks", paths["similar lengths"]["padded_by_real_tokens"], "≤", 1.08)


def _rte_tokens(result: dict[str, Any]) -> Iterator[Row]:
    yield Row("padded / real tokens, RTE", result["data_paths"]["similar lengths"]["padded_by_real_tokens"], "≤", 1.08)


def _epoch(target: float | None, rows: str) -> Callable[[dict[str, Any]], Iterator[Row]]:
    def read(result: dict[str, Any]) -> Iterator[Row]:
        for name, found in result["variants"].items():
            scaled = found.get("scaled_to_all_steps")
            times = scaled["times_as_long"] if scaled else found["times_as_long"]["median"]
            yield Row(f"epoch / plain Trainer ({rows}, {name})", times, target and "≤", target)
            shares = scaled or found
            yield Row(f"of it α's passes ({rows}, {name})", shares["passes_share"])
            yield Row(f"of it this package's other work ({rows}, {name})", shares["own_share"], "≤", 0.02)

    return read


def _steps(result: dict[str, Any]) -> Iterator[Row]:
    syncs = result["host_syncs"]
    yield Row(
        "host syncs per step beyond Trainer's", syncs["alphavil"]["per_step"] - syncs["plain"]["per_step"], "≤", 0
    )
    if "torch_compile" in result:
        compiled = result["torch_compile"]["compiled"]
        yield Row("graphs compiled after the second epoch", compiled["graphs"][-1] - compiled["graphs"][1], "≤", 0)
        yield Row("graph breaks", compiled["graph_breaks"], "≤", 0)
        yield Row("third epoch: compiled / eager", result["torch_compile"]["times_as_long"])


def _alpha_cost(result: dict[str, Any]) -> Iterator[Row]:
    targets = {"5": 1.05, "20": 1.10}
    for number, of_number in result["times_as_long"].items():
        target = targets.get(number)
        median = of_number["alpha step"]["median"]
        yield Row(f"α step / forward and backward, T = {number}", median, target and "≤", target)


def _naive(deltas: str) -> Callable[[dict[str, Any]], Iterator[Row]]:
    def read(result: dict[str, Any]) -> Iterator[Row]:
        for number, found in result["tasks"].items():
            yield Row(f"naive / our α step, T = {number}, {deltas}: seconds", found["times_as_long"], "≥", 3)
            yield Row(f"naive / our α step, T = {number}, {deltas}: memory", found["times_the_memory"], "≥", 3)

    return read


def _curves(result: dict[str, Any]) -> Iterator[Row]:
    for name, points in result["curves"].items():
        for point in points:
            of = f"{point['tasks']} tasks, {point['millions']} M parameters, {point['rows_per_task']} rows"
            yield Row(f"curve over {name}: epoch / plain ({of})", point["times_as_long"])


def _memory(result: dict[str, Any]) -> Iterator[Row]:
    plain, *runs = result["results"]
    theta = plain["parameters"]
    for run in runs:
        label = ", ".join(
            f"{name.removeprefix('phase_')}={value}"
            for name, value in run["settings"].items()
            if value != "float32"  # the default of the data types
        )
        on_device, on_host = run["peak"] - plain["peak"], run["host_peak"] - plain["host_peak"]
        has_device = plain["peak"] != plain["host_peak"]
        offloaded = has_device and "device" not in run["settings"].values()
        resets = run["settings"]["phase_optimizer_state"] == "reset"
        target = 0.5 if offloaded else 3.5 if resets else None
        yield Row(f"memory beyond plain in θ: {label}", on_device / theta, target and "≤", target)
        if offloaded:
            yield Row(f"CPU memory beyond plain in θ: {label}", on_host / theta, "≤", 8)


def _checkpoint(result: dict[str, Any]) -> Iterator[Row]:
    for name in ("again in a phase", "first in a phase", "first in a run"):
        yield Row(f"checkpoint / plain, {name}: CPU time", result[name]["times_as_long"]["median"], "≤", 2)
        yield Row(f"checkpoint, {name}: written in θ (plain: 3)", result[name]["written_theta"])


def _startup(result: dict[str, Any]) -> Iterator[Row]:
    yield Row("import MultitaskTrainer / Trainer", result["imports"]["hf_alphavil"]["median"], "≤", 1.05)
    yield Row("--help / import of Trainer", result["imports"]["--help"]["median"], "≤", 1.1)
    before, until = min(result["later_starts"], key=lambda seconds: seconds[1])
    yield Row("first step of a later start, CPU s", until, "≤", 1.5)
    yield Row("the same without the step itself, CPU s", before)


_MINILM = ("--model_name_or_path", "{workload}/encoder")

PARTS = {
    part.name: part
    for part in (
        Part("memory", "memory.py", _options(
            "--encoder", "{workload}/encoder", "--delta_dtype", "float32", "--optimizer_state_dtype", "float32",
            cpu="--delta_device device --optimizer_state_device device", chooses_device=False,
            tiny="--delta_device device --optimizer_state_device device --phase_optimizer_state reset",
        ), _memory),
        Part("throughput", "throughput.py", _options(
            *_WORKLOAD, cpu="--steps 24 --rounds 1", tiny="--steps 4 --rounds 1 --batch_size 4",
            cuda="--steps 120 --rounds 2 --data_paths 'similar lengths' 'random batches' 'padded to 128' bfloat16",
        ), _throughput),
        Part("rte_tokens", "throughput.py", _options(
            *_WORKLOAD, "--tasks", "rte", "--data_paths", "similar lengths", "--rounds", "1",
            cpu="--steps 32", cuda="--steps 100", tiny="--steps 4 --batch_size 4",
        ), _rte_tokens),
        Part("epoch", "epoch_cost.py", _options(
            *_WORKLOAD, "--rows", "96", cpu="--rounds 1 --variants alphavil secant",
            cuda="--rounds 2 --variants alphavil reset secant", tiny="--rounds 1 --batch_size 8",
        ), _epoch(1.06, "96 rows a task")),
        Part("full_epoch", "epoch_cost.py", _options(
            *_WORKLOAD, "--rows", "100000", "--rounds", "1", "--variants", "alphavil", "secant",
            cpu="--max_phase_steps 4", tiny="--max_phase_steps 2 --batch_size 4",
        ), _epoch(1.04, "all rows")),
        Part("full_epoch_bf16", "epoch_cost.py", _options(
            *_WORKLOAD, "--rows", "100000", "--bf16", cuda="--rounds 1 --variants alphavil secant",
        ), _epoch(1.04, "all rows, bf16"), ("cuda",)),
        Part("steps", "step_checks.py", _options(
            *_WORKLOAD, cpu="--rows 32 --without_compilation", cuda="--rows 64",
            tiny="--rows 16 --batch_size 4 --without_compilation",
        ), _steps),
        Part("alpha_cost", "alpha_cost.py", _options(
            *_MINILM, "--tasks", "5", "20", cpu="--rounds 3", cuda="--rounds 9", tiny="--rounds 1 --meta_rows 8",
        ), _alpha_cost),
        Part("naive", "naive_alphavil.py", _options(
            *_MINILM, cpu="--rounds 1", cuda="--rounds 1 --steps 20", tiny="--rounds 1 --meta_rows 8 --tasks 2",
        ), _naive("float32 deltas")),
        Part("naive_bf16_deltas", "naive_alphavil.py", _options(
            *_MINILM, "--delta_dtype", "bfloat16", cpu="--rounds 1 --tasks 5", cuda="--rounds 1 --tasks 5 --steps 20",
            tiny="--rounds 1 --meta_rows 8 --tasks 2",
        ), _naive("bf16 deltas")),
        Part("checkpoint", "checkpoint_cost.py", _options(tiny="--random_size tiny --rounds 1", chooses_device=False),
             _checkpoint),
        Part("startup", "startup.py", _options(
            "--data_dir", "{data_dir}", cpu="--rounds 2", tiny="--rounds 1",
        ), _startup, ("cpu",)),
        Part("curves", "curves.py", _options(
            cpu="--rows 16 160 --millions 5 43 125", cuda="--rows 64 640", tiny="--tasks 2 --millions 5 --rows 16",
        ), _curves),
    )
}  # fmt: skip
