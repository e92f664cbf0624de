"""Reads the weights with which tasks start."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any


def read_task_weights(given: Mapping[str, float] | str | list[str] | None) -> dict[str, float] | None:
    """
    Reads the setting `task_weights`, however it was written.

    Args:
        given (`Mapping`, `str` or `list[str]`, *optional*):
            Weights by task, as a mapping, as JSON, or as words `task=weight`.

    Returns:
        `dict[str, float]`, *optional*: Weights by task; `None` if there are none.

    Raises:
        ValueError: If a weight is not a number above 0, or if a task occurs twice.
    """
    weights: dict[str, float] = {}
    try:
        for task, weight in _pairs(given):
            weights[task] = math.nan if isinstance(weight, bool) or task in weights else float(weight)
            if not (isinstance(task, str) and task and 0 < weights[task] < math.inf):
                raise ValueError(f"{task!r}: {weight!r}")
    except (AttributeError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"task_weights={given!r:.300}: pass a number above 0 for each task once, {{'rte': 2.0}}, or on the "
            f"command line --task_weights rte=2 mrpc=0.5 ({error})"
        ) from None
    return weights or None


def _pairs(given: Any) -> Iterable[tuple[str, Any]]:
    if given is None or isinstance(given, Mapping):
        return (given or {}).items()
    words = [given] if isinstance(given, str) else given
    if len(words) == 1 and words[0].lstrip().startswith("{"):
        return json.loads(words[0], object_pairs_hook=list)
    return [word.rpartition("=")[::2] for word in words]
