"""All measurements of speed and memory, and a table of what was wanted and what was measured.

python benchmarks/bench.py --output out/bench
python benchmarks/bench.py --workload out/workload --device cuda --output out/bench_gpu

Every part is a script of this folder. It runs in a separate process and writes a log and a JSON result to the output
folder. A part whose result is there is not run again. A failed part does not stop the others; the command then exits
with status 1.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import runpy
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench_parts import PARTS, Part, Row
from hf_alphavil.files.markdown import markdown_table
from memory import PRELOAD, packaged_encoder
from workload import pack

HERE = Path(__file__).parent


@dataclass
class Outcome:
    """
    What became of a part.

    Args:
        part (`Part`): The part.
        seconds (`float`): Wall seconds. 0 if its result was there already.
        result (`dict`, *optional*): Its result; `None` if it failed.
    """

    part: Part
    seconds: float
    result: dict[str, Any] | None


def run_script(script: str, arguments: list[str], log: str) -> None:
    """Runs a script of this folder as `python` would, in a new process group, and writes its output to a file."""
    os.setsid()
    with open(log, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.path.insert(0, str(HERE))
    sys.argv = [script, *arguments]
    runpy.run_path(str(HERE / script), run_name="__main__")


def run_part(part: Part, options: argparse.Namespace, context: Any) -> Outcome:
    """Runs a part unless its result is there."""
    output, log = options.output / f"{part.name}.json", options.output / f"{part.name}.log"
    began = time.monotonic()
    seconds = 0.0
    if not output.exists():
        arguments = [*part.arguments(options), "--output", str(output)]
        process = context.Process(target=run_script, args=(part.script, arguments, str(log)))
        process.start()
        process.join(max(1.0, options.ends - time.monotonic()))
        if process.is_alive():
            os.killpg(process.pid, signal.SIGKILL)  # with the processes that the script has started
            process.join()
            print(f"{part.name}: stopped after {options.minutes:g} minutes of the whole run", file=sys.stderr)
        seconds = time.monotonic() - began
        status = f"failed, see {log}" if not output.exists() else "done"
        print(f"{part.name}: {status}, {seconds:.0f} s", file=sys.stderr, flush=True)
    result = json.loads(output.read_text(encoding="utf-8")) if output.exists() else None
    return Outcome(part, seconds, result)


def table(outcomes: list[Outcome]) -> str:
    """Target and measured value of every row, with whether the target was met."""
    cells = []
    for outcome in outcomes:
        if outcome.result is None:
            cells.append([outcome.part.name, "", "failed", ""])
            continue
        cells += [
            [row.what, row.target_text, row.measured_text, row.met_text] for row in outcome.part.rows(outcome.result)
        ]
    return markdown_table(["what", "target", "measured", "met"], cells)


def as_json(row: Row) -> dict[str, Any]:
    """A row of the table for the JSON file."""
    return {"what": row.what, "target": row.target_text, "measured": row.measured, "met": row.met}


def main() -> int:
    """Runs all parts, prints the table and writes `bench.json`."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--workload", type=Path, help="folder of workload.py; by default it is written first")
    parser.add_argument("--data_dir", default=str(HERE.parents[1] / "shared" / "data"), help="the official files")
    parser.add_argument("--model_name_or_path", help="the encoder (default: the packaged all-MiniLM-L6-v2)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), help="default: all that the device has")
    parser.add_argument("--tiny", action="store_true", help="the least work: for trying the parts out, not to measure")
    parser.add_argument("--jobs", type=int, default=1, help="parts at a time")
    parser.add_argument("--minutes", type=float, default=60.0, help="parts that still run after this time are stopped")
    parser.add_argument("--output", type=Path, required=True, help="folder of results")
    options = parser.parse_args()
    options.ends = time.monotonic() + 60 * options.minutes
    options.output.mkdir(parents=True, exist_ok=True)
    if options.workload is None:
        options.workload = options.output / "workload"
        if not options.workload.exists():
            pack(options.data_dir, options.model_name_or_path or packaged_encoder(), options.workload)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    chosen = [part for name, part in PARTS.items() if options.device in part.devices]
    if options.parts:
        chosen = [part for part in chosen if part.name in options.parts]
    run: Callable[[Part], Outcome] = lambda part: run_part(part, options, context)  # noqa: E731
    with ThreadPoolExecutor(options.jobs) as pool:
        outcomes = list(pool.map(run, chosen))
    print(table(outcomes))
    rows = [as_json(row) for outcome in outcomes if outcome.result for row in outcome.part.rows(outcome.result)]
    report = {"device": options.device, "seconds": {o.part.name: o.seconds for o in outcomes}, "rows": rows}
    (options.output / "bench.json").write_text(
        json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    return int(any(outcome.result is None for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
