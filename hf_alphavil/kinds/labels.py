"""Reads labels: from what a source writes to label ids. Without names, the labels are those of the training rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

#: A collection as Python, numpy or JSON prints it, such as pandas writes into CSV: `"['a', 'b']"`, `"[0 2]"`.
PRINTED_LIST = re.compile(r"""[\[({](\s*['"].*|[\d\s.,-]*|(True|False|true|false|[\s,])*)[\])}]""", re.DOTALL)
#: A column with more distinct values than this does not hold labels.
MAX_LABELS = 1000


@dataclass(frozen=True)
class LabelReader:
    """
    Reads the labels of one task from one source.

    Args:
        labels (`Sequence[str]`, *optional*):
            The labels' names in id order; `None` for a kind without classes.
        written (`Sequence[Any]`, *optional*):
            What the source writes for each id. Defaults to the names, or ids as numbers or strings of digits.
        separator (`str`, *optional*, defaults to `","`):
            What separates several labels in one string.
        label_format (`list[str]`, *optional*):
            The form of the source's first label, `"name"`, `"id"` or `"flags"`; empty until it is read. All other
            labels must have the same form. All readers of a source share this list.
    """

    labels: Sequence[str] | None = None
    written: Sequence[Any] | None = None
    separator: str = ","
    label_format: list[str] = field(default_factory=list)

    def limited_to(self, number: int) -> LabelReader:
        """
        Returns a reader of only the first `number` labels. Labels without names are called "0", "1", ...

        Args:
            number (`int`): The number of labels.
        """
        labels = self.labels[:number] if self.labels is not None else tuple(map(str, range(number)))
        return replace(self, labels=labels, written=self.written[: len(labels)] if self.written is not None else None)

    def id(self, value: Any) -> int:
        """
        The id of one label.

        Raises:
            ValueError: If the value is not a label of the task, or has another form than the source's first label.
        """
        assert self.labels is not None
        if value is None:
            raise ValueError("the label None means that it is missing.")
        names = self.labels if self.written is None else self.written
        for number, name in enumerate(names):
            if type(value) is type(name) and value == name:  # by type too: True == 1
                return self._in_form("name", number, value)
        if self.written is None:
            written = number_of(value)
            if written is not None and 0 <= written < len(names) and not names_numbers(names):
                return self._in_form("id", written, value)
            if type(value) is int and str(value) in names:
                return self._in_form("name", list(names).index(str(value)), value)
        raise ValueError(f"the label {value!r:.80} is none of {listed(names)}.")

    def id_set(self, value: Any) -> list[int]:
        """
        The ids of a multi-label row, whose labels are names, ids, or a flag for each label.

        Raises:
            ValueError: As for [`~LabelReader.id`], and if a label occurs twice.
        """
        parts = split_list(value, self.separator)
        if parts and self._are_flags(parts):
            return self._in_form("flags", [number for number, flag in enumerate(parts) if int(flag)], value)
        ids = [self.id(part) for part in parts]
        if len(set(ids)) != len(ids):
            raise ValueError(
                f"the labels {value!r:.80} list one label twice. (Flags, one per label, need `labels` in the YAML.)"
            )
        return ids

    def _are_flags(self, parts: list[Any]) -> bool:
        """Whether a row has a flag for each label, such as `[1, 0, 1]`, which cannot be a list of three ids."""
        assert self.labels is not None
        if self.written is not None or self.label_format not in ([], ["flags"]) or len(parts) != len(self.labels):
            return False
        if not are_flags(parts) or set(parts) <= set(self.labels):
            return False
        if not self.label_format and len(parts) == 2 and parts[0] != parts[1] and type(parts[0]) in (int, str):
            raise ValueError(f"the labels {parts} may be two ids, or a flag for each label: write names.")
        return True

    def _in_form(self, form: str, read: Any, value: Any) -> Any:
        if not self.label_format:
            self.label_format.append(form)
        if form != self.label_format[0]:  # ids count from 0, but numbers written among names may count from 1
            raise ValueError(
                f"the label {value!r:.80} is read as {form}, where the first was read as {self.label_format[0]}: "
                "write all in one way."
            )
        return read


def split_list(value: Any, separator: str | None) -> list[Any]:
    """
    Splits the labels of one row.

    Args:
        value (`Any`): A list, or a string of labels.
        separator (`str`, *optional*): What separates the labels of a string. `None` splits at white space.

    Raises:
        ValueError: If the value is neither.
    """
    if isinstance(value, list):
        return value
    if not isinstance(value, str) or PRINTED_LIST.fullmatch(value.strip()):
        between = "spaces" if separator is None else repr(separator)
        raise ValueError(
            f"the labels are {value!r:.80}, neither a list nor a string with separators: write them with {between} "
            "between them, or as a list in JSON or Parquet."
        )
    if separator is None:
        return value.split()
    return [part.strip() for part in value.split(separator)] if value.strip() else []


def are_flags(parts: Sequence[Any]) -> bool:
    """Whether a row's values can be flags: all of one type, numbers, truth values or digits, and all 0 or 1."""
    types = set(map(type, parts))
    return len(types) == 1 and types <= {int, float, bool, str} and all(part in (0, 1, "0", "1") for part in parts)


def is_id(label: Any, num_labels: int | None) -> bool:
    """Whether a value is a label id, from 0 to `num_labels - 1`."""
    return isinstance(label, int) and num_labels is not None and 0 <= label < num_labels


def number_of(value: Any) -> int | None:
    """A value as a whole number, if it is one or a string of its digits; `None` otherwise."""
    if type(value) is int:
        return value
    if type(value) is str and value.isascii() and value.removeprefix("-").isdecimal() and len(value) < 10:
        return int(value)
    return None


def names_numbers(labels: Sequence[Any]) -> bool:
    """Whether a label's name is a number, such as `"1"`. Then whole numbers in rows are names, and otherwise ids."""
    return any(number_of(label) is not None for label in labels)


def listed(names: Sequence[Any]) -> str:
    """Lists the first ten labels, for messages."""
    shown = ", ".join(map(repr, names[:10]))
    return f"{shown}, ... ({len(names)} labels)" if len(names) > 10 else shown


def check_label_value(value: Any) -> None:
    """
    Checks that a value may be a label.

    Raises:
        ValueError: If the value is missing, is not a string, a whole number or a truth value, or contains half a
            character.
    """
    if value is None:
        raise ValueError("the label None means that it is missing.")
    if value == "":
        raise ValueError("the label is empty.")
    if type(value) not in (str, int, bool):
        raise ValueError(f"the label {value!r:.80} is neither a string nor a whole number.")
    try:
        str(value).encode()
    except UnicodeEncodeError:
        raise ValueError(f"the label {value!r:.80} holds a lone surrogate, which is not text.") from None


class SeenLabels:
    """
    The labels of training rows, of a task that names none.

    Args:
        reads_flags (`bool`): Whether a row may have a flag for each label.
    """

    def __init__(self, reads_flags: bool) -> None:
        self.reads_flags = reads_flags
        self._values: list[Any] = []
        self._lengths: set[int] = set()

    def add(self, parts: Sequence[Any]) -> None:
        """
        Adds the labels of a row.

        Raises:
            ValueError: If one of them cannot be a label.
        """
        for part in parts:
            check_label_value(part)
        self._values += parts
        if parts:
            self._lengths.add(len(parts) if are_flags(parts) else 0)

    def names(self) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        """
        The labels in id order, as [`infer_labels`] returns them.

        Raises:
            ValueError: As [`infer_labels`], and if rows have flags, which are no names.
        """
        if self.reads_flags and len(self._lengths) == 1 and min(self._lengths) > 1:
            raise ValueError("the training rows have a flag, 1 or 0, for each label: write `labels`.")
        return infer_labels(self._values)


def infer_labels(values: Iterable[Any]) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """
    The labels of a task that names none: the values in its training rows, sorted.

    Args:
        values (`Iterable[Any]`):
            The label of every row, or of every word.

    Returns:
        `tuple[tuple[str, ...], tuple[Any, ...]]`: Their names, and what the source writes for each.

    Raises:
        ValueError: If there are more than a thousand or fewer than two, or if labels differ only in type.
    """
    found: dict[tuple[type, Any], None] = {}
    for value in values:
        found[type(value), value] = None
        if len(found) > MAX_LABELS:
            raise ValueError(
                f"there are more than {MAX_LABELS} labels. For numbers write `kind: regression`, else `labels`."
            )
    written = tuple(sorted((value for _, value in found), key=_sort_key))
    names = tuple(map(str, written))
    if len(names) < 2:
        raise ValueError(
            f"the training rows hold {listed(written) or 'no label'}; a classification needs two or more."
        )
    if len(set(names)) != len(names):
        raise ValueError(f"the labels {listed(written)} are written in more than one way; write each in one.")
    return names, written


def _sort_key(value: Any) -> tuple[bool, int, str]:
    number = number_of(value)
    return number is None, number or 0, str(value)
