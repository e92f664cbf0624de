"""Executes the runs of a preset in worker processes and keeps one JSON line per finished run."""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from hf_alphavil.comparing.run_options import Deadline, add_run_options
from hf_alphavil.comparing.versions import versions
from hf_alphavil.methods import METHODS
from low_resource_data import AUXILIARIES
from memory import PRELOAD
from study_summary import summary

Spec = dict[str, Any]
Result = dict[str, Any]


def specs_of(preset: Mapping[str, Any]) -> Iterator[Spec]:
    """
    The runs of a preset, seed by seed, so that a stopped study has compared all methods on some seeds.

    `training_seeds` trains several times on the rows of a seed. With `leave_one_out`, all methods train again without
    each auxiliary.
    """
    problems = [(target, rows) for target, numbers in preset["rows"].items() for rows in numbers]
    for seed, (target, rows), suite, training_seed, (name, method) in product(
        preset["seeds"], problems, preset["suites"], preset.get("training_seeds", (None,)), preset["methods"].items()
    ):
        spec = {
            "target": target, "suite": suite, "rows": rows, "auxiliary_rows": preset["auxiliary_rows"],
            "test_rows": preset["test_rows"], "seed": seed, "name": name, "settings": preset["settings"] | method,
        }  # fmt: skip
        if training_seed is not None:
            spec["training_seed"] = training_seed
        yield spec
        if preset.get("leave_one_out"):
            if suite not in AUXILIARIES or not METHODS[method["method"]].trains_on("an auxiliary", "the target"):
                raise SystemExit(f"leave_one_out: {suite} with {name} has no known auxiliaries that are trained")
            yield from ({**spec, "without": auxiliary} for auxiliary in AUXILIARIES[suite])


def id_of(spec: Spec) -> str:
    """A digest of a run's definition."""
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:12]


def read_results(path: Path) -> dict[str, Result]:
    """
    Reads finished runs by id, and removes the end of a line that was being written when a study was killed.

    Args:
        path (`Path`): JSON lines. The file need not exist.
    """
    if not path.exists():
        return {}
    text = path.read_text()
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole)
    return {result["id"]: result for result in map(json.loads, whole.splitlines())}


def study_parser(description: str) -> argparse.ArgumentParser:
    """A parser of the preset, the output and the options of runs."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", type=Path, help="YAML file")
    parser.add_argument("--output", type=Path, required=True, help="JSON lines, one per finished run")
    parser.add_argument("--methods", nargs="+", help="names in the preset (default: all)")
    add_run_options(parser)
    return parser


def end_with_workers(number: int, frame: Any) -> None:
    """Ends the worker processes and this one. Without it, a killed study would leave its workers running."""
    for worker in multiprocessing.active_children():
        worker.terminate()
    sys.exit(128 + number)


def execute_study(options: argparse.Namespace, run: Callable[[Spec], Result]) -> int:
    """
    Executes the runs that are missing and prints the summary of all.

    Args:
        options (`argparse.Namespace`): Options of [`study_parser`].
        run (`Callable[[dict], dict]`): Executes a run in a worker process and returns its result. It can be pickled.

    Returns:
        `int`: The exit status: 1 if a run failed.
    """
    deadline = Deadline(options.minutes)
    preset = yaml.safe_load(options.preset.read_text())
    if unknown := set(options.methods or ()) - set(preset["methods"]):
        names = ", ".join(preset["methods"])
        raise SystemExit(f"--methods: {options.preset} has no {', '.join(sorted(unknown))}, but {names}")
    specs = [spec for spec in specs_of(preset) if options.methods is None or spec["name"] in options.methods]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    results = read_results(options.output)
    waiting = [spec for spec in options.shard.of(specs) if id_of(spec) not in results]
    failed, code = 0, versions()
    before = signal.signal(signal.SIGTERM, end_with_workers)
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(PRELOAD)
    with ProcessPoolExecutor(options.jobs, mp_context=server) as pool, options.output.open("a") as file:
        running: dict[Future[Result], Spec] = {}
        while waiting or running:
            while waiting and len(running) < options.jobs and not deadline.is_over():
                spec = waiting.pop(0)
                running[pool.submit(run, spec)] = spec
            if not running:
                break
            future = next(as_completed(running))
            spec = running.pop(future)
            left_out = f" without {spec['without']}" if "without" in spec else ""
            seeds = "-".join(str(spec[key]) for key in ("seed", "training_seed") if key in spec)
            label = f"{spec['target']} {spec['rows']} {spec['suite']} {spec['name']}{left_out} seed {seeds}"
            try:
                result = {"id": id_of(spec), **spec, **future.result(), "versions": code}
            except Exception as error:
                failed += 1
                print(f"{label}: {error!r}", file=sys.stderr, flush=True)
                continue
            results[result["id"]] = result
            file.write(json.dumps(result) + "\n")
            file.flush()
            print(f"{label}: {result['score']:.4f}, {result['seconds']:.1f} s", file=sys.stderr, flush=True)
    signal.signal(signal.SIGTERM, before)
    print(summary(list(results.values())))
    print(f"{len(waiting)} runs left, {failed} failed", file=sys.stderr)
    return int(failed > 0)
