"""Tables of results in plain text, for the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from .history import HistoryEntry, best_was_loaded, epochs_of_choice, fitted_entry, kept_entry, tasks_of
from .scores import CardScore, no_better_in_words
from .undone import undone_in_words
from .verdicts import Verdict, verdicts, verdicts_in_short

MISSING = "-"


def format_summary_table(
    target: str,
    score_name: str,
    score: float | None,
    history: Sequence[HistoryEntry],
    method: str,
    scores: Sequence[CardScore] = (),
) -> str:
    """
    Summarises a run: the target's score, then every task's verdict and contribution up to the kept model's epoch, and
    its α and weight in that epoch; and how many epochs chose an auxiliary, if epochs choose. Lines below say which
    phases diverged, if any did, and how far verdicts go.

    Apart from task names the table is ASCII, so that any terminal can print it.

    Args:
        target (`str`): The target task.
        score_name (`str`): Name of the score, such as `"accuracy"` or `"validation accuracy (selected on it)"`.
        score (`float`, *optional*): The target's score; `None` if it was not evaluated.
        history (`Sequence[dict]`): The history of the run; it may be empty.
        method (`str`): The training method.
        scores (`Sequence[CardScore]`, *optional*):
            The scores, for a line with those of the target's most frequent label, and another if the target's are no
            better.

    Returns:
        `str`: The table, without a trailing line break. A missing α or weight is shown as `-`. If the kept model's
        epoch fitted no α, that of the last epoch that did is shown. Without contributions, their two columns are left
        out.
    """
    last, by_task = kept_entry(history), verdicts(history)
    times, fitted = epochs_of_choice(history), fitted_entry(history)
    is_older = fitted.get("epoch", last.get("epoch")) != last.get("epoch")
    alpha = f"alpha (epoch {fitted['epoch']})" if is_older else "alpha"
    rows = [["task", *(["verdict", "loss saved"] if by_task else []), *(["epochs"] if times else []), alpha, "weight"]]
    for task in tasks_of(history, target):
        name = f"{task} (target)" if task == target else task
        found = (fitted.get("alpha", {}), last.get("task_weights", {}))
        numbers = [_number(of_tasks.get(task)) for of_tasks in found]
        trained = [MISSING if task == target else str(times[task])] if times else []
        rows.append([name, *(_judged(by_task.get(task)) if by_task else []), *trained, *numbers])
    kept = f", kept epoch {last.get('epoch', 0)}" if best_was_loaded(history) else ""
    heading = f"{target}: {score_name} {_number(score, 4)}  (method {method}, epochs {len(history)}{kept})"
    below = filter(None, [undone_in_words(history), verdicts_in_short(history)])
    return "\n".join([heading, *_majority_lines(scores, target), "", align_columns(rows), *below])


def format_comparison_table(
    target: str, score_name: str, runs: Mapping[str, tuple[float | None, Sequence[HistoryEntry]]]
) -> str:
    """
    Compares methods, one per row: the target's score, then each task's weight in the kept model's epoch.

    Args:
        target (`str`): The target task.
        score_name (`str`): Name of the score, such as `"test accuracy"`.
        runs (`Mapping[str, tuple[float, Sequence[dict]]]`):
            The target's score and the history, by method or any other name of the run.

    Returns:
        `str`: The table, without a trailing line break. A task that a method does not train has no weight and is shown
        as `-`.
    """
    tasks = tasks_of([record for _, history in runs.values() for record in history], target)
    rows = [["method", f"{target} {score_name}", *(f"w({task})" for task in tasks)]]
    for method, (score, history) in runs.items():
        weights = kept_entry(history).get("task_weights", {})
        rows.append([method, _number(score, 4), *(_number(weights.get(task)) for task in tasks)])
    return align_columns(rows)


def align_columns(rows: Sequence[Sequence[str]]) -> str:
    """
    Formats a plain-text table: the first column is aligned left, the others right, with a rule below the header.

    Args:
        rows (`Sequence[Sequence[str]]`): Cells by row, the header first.

    Returns:
        `str`: The table, without a trailing line break.
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


def _majority_lines(scores: Sequence[CardScore], target: str) -> list[str]:
    known = [f"{s.metric} {s.majority_in_words}" for s in scores if s.task == target and s.majority is not None]
    majority = [f"always answering the most frequent label: {', '.join(known)}"] if known else []
    return [*majority, *filter(None, [no_better_in_words(scores, target)])]


def _judged(verdict: Verdict | None) -> list[str]:
    return [MISSING] * 2 if verdict is None else [verdict.words, verdict.interval.replace("±", "+/-")]


def _number(value: float | None, decimals: int = 3) -> str:
    if value is None:
        return MISSING
    return f"{value:.{decimals}f}" if math.isfinite(value) else str(float(value))
