"""Keys of a task's YAML file: each is declared as metadata of the dataclass field that it sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class YamlKey:
    """
    One key of a task's YAML file.

    Args:
        valid (`Callable`): Whether the key may have a value, as YAML reads it.
        wanted (`str`): What to write instead of a value that is not valid, such as `"a list of strings"`.
        help (`str`): The key's meaning, for the table of keys in `docs/tasks.md`.
        required (`bool`, *optional*, defaults to `False`): Whether the key must be there.
        packaged_only (`bool`, *optional*, defaults to `False`):
            Whether only the benchmark tasks of this package may have the key, because it belongs to code for their
            files.
    """

    valid: Callable[[Any], bool]
    wanted: str
    help: str
    required: bool = False
    packaged_only: bool = False


def yaml_key(check: Check, help: str, required: bool = False, packaged_only: bool = False) -> dict[str, YamlKey]:
    """The `metadata` of a dataclass field that a YAML key sets. See [`YamlKey`] for the arguments."""
    valid, wanted = check
    return {"yaml": YamlKey(valid, wanted, help, required, packaged_only)}


def keys_of(settings: type) -> dict[str, YamlKey]:
    """The YAML keys that a dataclass declares, by name and in the order of its fields."""
    return {field.name: field.metadata["yaml"] for field in fields(settings) if "yaml" in field.metadata}


# ---- Checks: whether a value is valid, and what to write otherwise

Check = tuple[Callable[[Any], bool], str]


def is_a(*types: type) -> Callable[[Any], bool]:
    """A check for a value of exactly one of these types. `True` does not count as an `int`."""
    return lambda value: type(value) in types


def is_list_of(*types: type) -> Callable[[Any], bool]:
    """A check for a list of one or more values of exactly these types."""
    return lambda value: isinstance(value, list) and len(value) > 0 and all(type(item) in types for item in value)


def is_map_of(inner: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """A check for a mapping from strings to values that pass `inner`."""
    return lambda value: (
        isinstance(value, dict) and all(type(key) is str and inner(item) for key, item in value.items())
    )


def one_of(names: Any) -> Check:
    """A check for one of some strings."""
    return (lambda value: type(value) is str and value in names), f"one of {', '.join(names)}"


TEXT: Check = (is_a(str), "a string")
TEXTS: Check = (is_list_of(str), "a list of strings")
TEXT_MAP: Check = (is_map_of(is_a(str)), "a mapping from names to strings")
FLAG: Check = (is_a(bool), "true or false")
WHOLE_NUMBER: Check = (is_a(int), "a whole number")
SHARE: Check = ((lambda value: type(value) in (int, float) and 0 < value < 1), "a share between 0 and 1")
