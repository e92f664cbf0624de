"""The options and the JSON file that all measurements share."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch

from hf_alphavil.comparing.versions import versions


def add_output(parser: argparse.ArgumentParser) -> None:
    """Adds `--device` and `--output`."""
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=("cpu", "cuda"), default=default)
    parser.add_argument("--output", type=Path, help="JSON file to write")


def write_result(options: argparse.Namespace, result: dict[str, Any]) -> None:
    """
    Prints a result and writes it, with the machine's description, to `--output`.

    Args:
        options (`argparse.Namespace`): Options of [`add_output`].
        result (`dict`): What was measured, JSON-serialisable.
    """
    place = torch.cuda.get_device_name() if options.device == "cuda" else f"CPU, {torch.get_num_threads()} thread(s)"
    script = os.path.basename(sys.argv[0])
    result = {"script": script, "device": place, "versions": versions(), **result}
    text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
    print(text, end="")
    if options.output is not None:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(text, encoding="utf-8")
