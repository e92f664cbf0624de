"""YAML files with the line of every key, for messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ..files.yaml_nodes import MAX_BYTES, BoundedLoader, YamlError, compose, construct, line_of, misreading
from .errors import DataError
from .readers.lines import read_file_text


class YamlFile:
    """
    A YAML file that is one mapping.

    Args:
        file (`Path`):
            The file.

    Attributes:
        content (`dict[str, Any]`):
            The mapping.

    Raises:
        DataError: If the file cannot be read, is too large, is not YAML, is not a mapping, has a key twice, or has a
            word without quotes that YAML reads as something else, such as `no` (false) or `012` (ten).
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        text = read_file_text(file, MAX_BYTES)
        self._lines: dict[tuple[str, ...], int] = {}
        try:
            loader, root = compose(text)
            if root is not None:
                self._walk(loader, root, ())  # before construction, which merges what `<<` refers to into the nodes
            self.content: Any = construct(loader, root)
        except YamlError as error:
            raise DataError(error.reason, file, error.line) from None
        if not isinstance(self.content, dict):
            raise DataError("is not a mapping from keys to values.", file, 1)

    def line_of(self, *keys: str) -> int | None:
        """`int`, *optional*: The line of the innermost of nested keys that is in the file."""
        for length in range(len(keys), 0, -1):
            if keys[:length] in self._lines:
                return self._lines[keys[:length]]
        return None

    def fault(self, reason: str, *keys: str, advice: str | None = None) -> DataError:
        """`DataError`: An error at the line of nested keys."""
        return DataError(reason, self.file, self.line_of(*keys), advice)

    def _walk(self, loader: BoundedLoader, node: yaml.Node, path: tuple[str, ...]) -> None:
        """Takes down the lines of keys, and refuses words that YAML reads as something else."""
        if isinstance(node, yaml.ScalarNode):
            self._check_word(node, misreading(loader, node))
        elif isinstance(node, yaml.SequenceNode):
            for item in node.value:
                self._walk(loader, item, path)
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                self._check_word(key, misreading(loader, key, is_key=True))
                self._lines[(*path, key.value)] = line_of(key)
                self._walk(loader, value, (*path, key.value))

    def _check_word(self, node: yaml.ScalarNode, read_as: str | None) -> None:
        if read_as is not None:
            reason = f"{node.value!r:.80} is read as {read_as}."
            raise DataError(reason, self.file, line_of(node), "Write it in quotes if it is text.")
