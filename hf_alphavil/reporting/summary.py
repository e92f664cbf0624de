"""Tables: in plain text, those that end a run, and in Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from .history import HistoryEntry, tasks_of

MISSING = "-"


def format_summary_table(
    target: str, score_name: str, score: float | None, history: Sequence[HistoryEntry], method: str
) -> str:
    """
    A run in a few lines: the target's score, then the last α and the final weight of every task.

    The table is ASCII, but for task names, so that any terminal can print it.

    Args:
        target (`str`): The target task.
        score_name (`str`): What the score is, such as `"accuracy"` or `"validation accuracy (selected on it)"`.
        score (`float`, *optional*): The target's score; `None` where it was not evaluated.
        history (`Sequence[dict]`): The run's history; may be empty.
        method (`str`): How the tasks were trained.

    Returns:
        `str`: The table, without a last line break. α of methods that have none is shown as `-`.
    """
    last = history[-1] if history else {}
    rows = [["task", "alpha", "weight"]]
    for task in tasks_of(history, target):
        name = f"{task} (target)" if task == target else task
        rows.append([name, _number(last.get("alpha", {}).get(task)), _number(last.get("task_weights", {}).get(task))])
    heading = f"{target}: {score_name} {_number(score, 4)}  (method {method}, epochs {len(history)})"
    return f"{heading}\n\n{align_columns(rows)}"


def format_comparison_table(
    target: str, score_name: str, runs: Mapping[str, tuple[float | None, Sequence[HistoryEntry]]]
) -> str:
    """
    Several methods side by side: the target's score, then each task's final weight.

    Args:
        target (`str`): The target task.
        score_name (`str`): What the score is, such as `"test accuracy"`.
        runs (`Mapping[str, tuple[float, Sequence[dict]]]`):
            By method (or any name of a run), the target's score and the history.

    Returns:
        `str`: The table, without a last line break. A task without a weight, because the method does not train it, is
        shown as `-`.
    """
    tasks = tasks_of([record for _, history in runs.values() for record in history], target)
    rows = [["method", f"{target} {score_name}", *(f"w({task})" for task in tasks)]]
    for method, (score, history) in runs.items():
        weights = history[-1].get("task_weights", {}) if history else {}
        rows.append([method, _number(score, 4), *(_number(weights.get(task)) for task in tasks)])
    return align_columns(rows)


def align_columns(rows: Sequence[Sequence[str]]) -> str:
    """
    Sets a table: the first column flush left, the others flush right, a rule under the first row.

    Args:
        rows (`Sequence[Sequence[str]]`): Cells by row, the headings first.

    Returns:
        `str`: The lines.
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for cells in [rows[0], ["-" * width for width in widths], *rows[1:]]:
        first, *others = cells
        aligned = [
            first.ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)),
        ]
        lines.append("  ".join(aligned).rstrip())
    return "\n".join(lines)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """
    A table in Markdown.

    Args:
        header (`Sequence[str]`): The headings.
        rows (`Sequence[Sequence[str]]`): The cells, row by row.

    Returns:
        `str`: Its lines.
    """
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, ["---"] * len(header), *rows))


def _number(value: float | None, decimals: int = 3) -> str:
    if value is None:
        return MISSING
    return f"{value:.{decimals}f}" if math.isfinite(value) else str(float(value))
