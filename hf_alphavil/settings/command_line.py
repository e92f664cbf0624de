"""The command line of a script: flags, or one YAML or JSON file instead."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml
from transformers import HfArgumentParser

FILE_ENDINGS = (".yaml", ".yml", ".json")


def parse_command_line(classes: Sequence[type]) -> tuple[Any, ...]:
    """
    Parses `sys.argv` into dataclasses.

    A single argument that ends in `.yaml`, `.yml` or `.json` is read as a file of flags.

    Args:
        classes (`Sequence[type]`): Dataclasses whose fields are the flags.

    Returns:
        `tuple`: One instance per class.

    Raises:
        ValueError: If the file is not a mapping, or a class refuses a value or a key.
    """
    parser = HfArgumentParser(classes)  # type: ignore[arg-type]
    if len(sys.argv) == 2 and sys.argv[1].endswith(FILE_ENDINGS):
        return parser.parse_dict(read_flags_file(Path(sys.argv[1]), classes))
    return parser.parse_args_into_dataclasses()


def read_flags_file(file: Path, classes: Sequence[type]) -> dict[str, Any]:
    """
    Reads a YAML or JSON file of flags, whose names are those of the command line, including aliases.

    Args:
        file (`Path`): The file, in UTF-8 with or without a byte order mark.
        classes (`Sequence[type]`): Dataclasses whose fields are the flags.

    Returns:
        `dict[str, Any]`: Values by field name. Keys that no class has are kept, for the parser to refuse.

    Raises:
        ValueError: If the file is not a mapping.
    """
    read = json.loads if file.suffix == ".json" else yaml.safe_load
    given = read(file.read_text(encoding="utf-8-sig"))
    if not isinstance(given, dict):
        raise ValueError(f"{file} is not a mapping from flags to values: write one `flag: value` per line")
    known = [entry for one in classes for entry in fields(one)]
    names = {alias.lstrip("-"): entry.name for entry in known for alias in entry.metadata.get("aliases", ())}
    floats = {entry.name for entry in known if entry.type in (float, "float", "float | None")}
    flags = {names.get(key, str(key)): value for key, value in given.items()}
    # YAML 1.1 reads 5e-5 as a string; only 5.0e-5 is a number.
    return {
        name: float(value) if name in floats and isinstance(value, str) else value for name, value in flags.items()
    }
