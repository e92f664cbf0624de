"""YAML files with the line of every key, for messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

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
        DataError: If the file cannot be read, is not YAML, is not a mapping, or has a key twice.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        text = read_file_text(file)
        self._lines: dict[tuple[str, ...], int] = {}
        try:
            loader = yaml.SafeLoader(text)
            root = loader.get_single_node()
            self._walk(root, ())  # before construction, which merges what `<<` refers to into the nodes
            self.content: Any = loader.construct_document(root) if root is not None else None
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            reason = getattr(error, "problem", None) or str(error).splitlines()[0]
            raise DataError(f"is not YAML ({reason}).", file, mark.line + 1 if mark else None) from None
        except DataError:
            raise
        except RecursionError:
            raise DataError("nests too deeply, or an alias is inside the value that it refers to.", file) from None
        # An impossible date, a list as a key, and values that the tags !!bool, !!timestamp and !!int do not accept.
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise DataError(f"is not YAML that can be read ({reason}).", file) from None
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

    def _walk(self, node: Any, path: tuple[str, ...]) -> None:
        if not isinstance(node, yaml.MappingNode):
            return
        seen = set()
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in seen:
                raise DataError(f"the key {name!r} occurs twice.", self.file, line)
            seen.add(name)
            self._lines[(*path, name)] = line
            self._walk(value, (*path, name))
