"""Files of flags: what they say is read as a command line would read it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from ..files.json_file import distinct_keys
from ..files.regular_file import read_regular_file
from ..files.yaml_nodes import MAX_BYTES, BoundedLoader, YamlError, compose, construct, line_of, misreading

FILE_ENDINGS = (".yaml", ".yml", ".json")


class FlagLoader(BoundedLoader):
    """A loader that takes `5e-5` for a number, as JSON and YAML 1.2 do."""


FlagLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def read_flags_file(file: Path) -> dict[str, Any]:
    """
    Reads a YAML or JSON file of flags.

    A word is taken as it is written: `phase_parallel: on` is the word `on`, which YAML itself reads as true.

    Args:
        file (`Path`): The file, in UTF-8 with or without a byte order mark.

    Returns:
        `dict[str, Any]`: By flag, the text of its value, a list of texts, a mapping, or `None` for null.

    Raises:
        OSError: If the file is missing or unreadable.
        ValueError: If the file is not a mapping, or a flag occurs twice.
    """
    try:
        text = read_regular_file(file, MAX_BYTES).decode("utf-8-sig")
        flags = _read_json(text) if file.suffix.lower() == ".json" else _read_yaml(text)
    except YamlError as error:
        place = f"{file}, line {error.line}" if error.line is not None else file
        raise ValueError(f"{place}: {error.reason}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{file}: is not UTF-8") from None
    except RecursionError:
        raise ValueError(f"{file}: nests too deeply") from None
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    if flags is None:
        raise ValueError(f"{file} is not a mapping from flags to values: write one `flag: value` per line")
    return flags


def _read_yaml(text: str) -> dict[str, Any] | None:
    loader, root = compose(text, FlagLoader)
    if not isinstance(root, yaml.MappingNode):
        return None
    loader.flatten_mapping(root)
    return {key.value: _yaml_value(loader, value) for key, value in root.value}


def _yaml_value(loader: BoundedLoader, node: yaml.Node) -> Any:
    if node.tag.startswith("!") or "/" in node.tag:  # a tag of Python's, or of nobody's
        return construct(loader, node)
    if isinstance(node, yaml.ScalarNode):
        return None if node.tag.endswith(":null") else node.value
    if isinstance(node, yaml.SequenceNode) and all(isinstance(item, yaml.ScalarNode) for item in node.value):
        return [item.value for item in node.value]
    _check_words(loader, node)
    return construct(loader, node)


def _check_words(loader: BoundedLoader, node: yaml.Node, is_key: bool = False) -> None:
    """Refuses words inside a mapping that YAML reads as something else: there, numbers must stay numbers."""
    if isinstance(node, yaml.ScalarNode) and (read_as := misreading(loader, node, is_key)):
        raise YamlError(f"{node.value!r:.80} is read as {read_as}. Write it in quotes if it is text.", line_of(node))
    for child in node.value if isinstance(node, yaml.SequenceNode) else ():
        _check_words(loader, child)
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        _check_words(loader, key, is_key=True)
        _check_words(loader, value)


def _read_json(text: str) -> dict[str, Any] | None:
    flags = json.loads(text, object_pairs_hook=distinct_keys)
    if not isinstance(flags, dict):
        return None
    return {name: _json_value(value) for name, value in flags.items()}


def _json_value(value: Any) -> Any:
    if isinstance(value, list) and not any(isinstance(item, (list, dict)) for item in value):
        return [_json_value(item) for item in value]
    return value if value is None or isinstance(value, (str, list, dict)) else json.dumps(value)
