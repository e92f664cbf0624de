"""From what sources write for a label to ids."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from datasets import ClassLabel, Dataset

from .readers.columns import value_at

#: A collection as Python, numpy or JSON prints it, such as pandas writes into CSV: `"['a', 'b']"`, `"[0 2]"`.
PRINTED_LIST = re.compile(r"""[\[({](\s*['"].*|[\d\s.,-]*|(True|False|true|false|[\s,])*)[\])}]""", re.DOTALL)
#: More distinct values than this are no labels.
MAX_LABELS = 1000
#: The largest float32, the type of scores: a larger one would become infinity, and the loss NaN.
MAX_SCORE = (2 - 2**-23) * 2.0**127


@dataclass(frozen=True)
class LabelReader:
    """
    Reads the labels of one task.

    Args:
        kind (`str`):
            The task's kind.
        labels (`Sequence[str]`, *optional*):
            The labels' names in id order; `None` for regression.
        written (`Sequence[Any]`, *optional*):
            What the source writes for each id. Defaults to the names, or ids as numbers or strings of digits.
        several (`bool`, *optional*, defaults to `False`):
            Whether a row may have any number of labels.
        separator (`str`, *optional*, defaults to `","`):
            What stands between several labels in one string.
        score_range (`tuple[float, float]`, *optional*):
            The range of a regression's scores.
        forms (`list[str]`, *optional*):
            Of a source's readers the same list: whether its first label was a name, an id or among flags, as then all
            must be.
    """

    kind: str
    labels: Sequence[str] | None = None
    written: Sequence[Any] | None = None
    is_multi_label: bool = False
    separator: str = ","
    score_range: tuple[float, float] | None = None
    label_format: list[str] = field(default_factory=list)

    def read(self, value: Any, num_words: int | None = None) -> Any:
        """
        A row's label as [`Task`] wants it: an id, a float, or a list of ids.

        Args:
            value (`Any`):
                What the source says.
            num_words (`int`, *optional*):
                Token classification: how many labels there must be.

        Raises:
            `ValueError`: for another number of labels, and what is no label of the task.
        """
        if self.kind == "regression":
            return self._score(value)
        if not self.is_multi_label and self.kind != "token_classification":
            return self._id(value)
        parts = split_labels(value, self.kind, self.separator)
        if self.is_multi_label and parts and self._are_flags(parts):
            return self._in_form("flags", [number for number, flag in enumerate(parts) if int(flag)], value)
        ids = [self._id(part) for part in parts]
        if num_words is not None and len(ids) != num_words:
            raise ValueError(f"there are {len(ids)} labels for {num_words} words.")
        if self.is_multi_label and len(set(ids)) != len(ids):
            raise ValueError(
                f"the labels {value!r:.80} name one twice. (Flags, one for each label, are read where `labels` stand.)"
            )
        return ids

    def _are_flags(self, parts: list[Any]) -> bool:
        """Whether a row says of each label whether it applies, as `[1, 0, 1]`: what no list of three ids can be."""
        assert self.labels is not None
        if self.written is not None or self.label_format not in ([], ["flags"]) or len(parts) != len(self.labels):
            return False
        if not are_flags(parts) or set(parts) <= set(self.labels):
            return False
        if not self.label_format and len(parts) == 2 and parts[0] != parts[1] and type(parts[0]) in (int, str):
            raise ValueError(
                f"the labels {parts} may be two ids, or say of each label whether it applies: write names."
            )
        return True

    def _id(self, value: Any) -> int:
        assert self.labels is not None
        names = self.labels if self.written is None else self.written
        for number, name in enumerate(names):
            if type(value) is type(name) and value == name:  # by type too: True == 1
                return self._in_form("name", number, value)
        if self.written is None:
            written = _number(value)
            if written is not None and 0 <= written < len(names) and all(_number(name) is None for name in names):
                return self._in_form("id", written, value)
            if type(value) is int and str(value) in names:
                return self._in_form("name", list(names).index(str(value)), value)
        raise ValueError(f"the label {value!r:.80} is none of {_listed(names)}.")

    def _in_form(self, form: str, read: Any, value: Any) -> Any:
        if not self.label_format:
            self.label_format.append(form)
        if form != self.label_format[0]:  # ids count from 0, and what is written among names may well count from 1
            raise ValueError(
                f"the label {value!r:.80} is read as {form}, where the first was read as {self.label_format[0]}: "
                "write all in one way."
            )
        return read

    def _score(self, value: Any) -> float:
        low, high = self.score_range if self.score_range is not None else (-MAX_SCORE, MAX_SCORE)
        try:
            score = float(value) if type(value) is not bool else math.nan
        except (TypeError, ValueError, OverflowError):
            score = math.nan
        if not (abs(score) <= MAX_SCORE and low <= score <= high):
            raise ValueError(f"the label {value!r:.80} is no number from {low:g} to {high:g}.")
        return score


def class_names(rows: Dataset, column: str) -> tuple[str, ...] | None:
    """The labels that a dataset itself names in a column of ids, or of lists of ids; `None` where it names none."""
    try:
        feature = value_at(rows.features, column)
    except KeyError:
        return None
    feature = getattr(feature, "feature", feature)  # of a list's items
    return tuple(feature.names) if isinstance(feature, ClassLabel) else None


def split_labels(value: Any, kind: str, separator: str) -> list[Any]:
    """
    The labels of one row: those of a list, or of a string between separators (of words between white space).

    Raises:
        `ValueError`: for what is neither.
    """
    if isinstance(value, list):
        return value
    if not isinstance(value, str) or PRINTED_LIST.fullmatch(value.strip()):
        raise ValueError(f"the labels are {value!r:.80}, neither a list nor a string with separators.")
    if kind == "token_classification":
        return value.split()
    return [part.strip() for part in value.split(separator)] if value.strip() else []


def are_flags(parts: Sequence[Any]) -> bool:
    """Whether a row's values can say of each label whether it applies: all numbers, truth values or digits, 0 or 1."""
    types = set(map(type, parts))
    return len(types) == 1 and types <= {int, float, bool, str} and all(part in (0, 1, "0", "1") for part in parts)


def check_label_value(value: Any) -> None:
    """
    Checks that a value may be a label.

    Raises:
        `ValueError`: for what is neither a string nor a whole number nor a truth value, and half a character.
    """
    if value == "":
        raise ValueError("the label is empty.")
    if type(value) not in (str, int, bool):
        raise ValueError(f"the label {value!r:.80} is neither a string nor a whole number.")
    try:
        str(value).encode()
    except UnicodeEncodeError:
        raise ValueError(f"the label {value!r:.80} holds a lone surrogate, which is not text.") from None


def infer_labels(values: Iterable[Any]) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """
    The labels of a task that names none: what stands in its training rows, sorted.

    Args:
        values (`Iterable[Any]`):
            Every row's, or every word's.

    Returns:
        `tuple[tuple[str, ...], tuple[Any, ...]]`: their names, and what the source writes for each.

    Raises:
        `ValueError`: for more than a thousand, fewer than two, and labels that differ in type alone.
    """
    found: dict[tuple[type, Any], None] = {}
    for value in values:
        found[type(value), value] = None
        if len(found) > MAX_LABELS:
            raise ValueError(
                f"there are more than {MAX_LABELS} labels. Of numbers write `kind: regression`, else `labels`."
            )
    written = tuple(sorted((value for _, value in found), key=_sort_key))
    names = tuple(map(str, written))
    if len(names) < 2:
        raise ValueError(
            f"the training rows hold {_listed(written) or 'no label'}; a classification needs two or more."
        )
    if len(set(names)) != len(names):
        raise ValueError(f"the labels {_listed(written)} are written in more than one way; write each in one.")
    return names, written


def _sort_key(value: Any) -> tuple[bool, int, str]:
    number = _number(value)
    return number is None, number or 0, str(value)


def _number(value: Any) -> int | None:
    if type(value) is int:
        return value
    if type(value) is str and value.isascii() and value.removeprefix("-").isdecimal() and len(value) < 10:
        return int(value)
    return None


def _listed(names: Sequence[Any]) -> str:
    shown = ", ".join(map(repr, names[:10]))
    return f"{shown}, ... ({len(names)} labels)" if len(names) > 10 else shown
