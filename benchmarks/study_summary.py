"""Tables of a study: mean scores, paired differences and costs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from compare_statistics import mean_estimate
from hf_alphavil.files.markdown import markdown_table

#: The methods that others are compared with.
BASELINES = ("multitask", "single")


def summary(results: Sequence[dict[str, Any]]) -> str:
    """
    Formats the results of a study, in points.

    Args:
        results (`Sequence[dict]`): Lines of a study's results, or of several.

    Returns:
        `str`: Markdown: the mean score and number of runs by problem; by suite, the mean difference from each
        baseline, its 95 % interval and number of pairs; and the cost of a run.
    """
    names = list(dict.fromkeys(result["name"] for result in results))
    parts = [_means(results, names)]
    parts += [_differences(results, names, baseline) for baseline in BASELINES if baseline in names]
    return "\n\n".join([*parts, _costs(results, names)])


def _means(results: Sequence[dict[str, Any]], names: Sequence[str]) -> str:
    problems = sorted({(r["target"], r["rows"], r["suite"]) for r in results})
    rows = []
    for target, number, suite in problems:
        cells = []
        for name in names:
            scores = [
                r["score"]
                for r in results
                if (r["name"], r["target"], r["rows"], r["suite"]) == (name, target, number, suite)
            ]
            cells.append(f"{100 * statistics.mean(scores):.1f} ({len(scores)})" if scores else "")
        rows.append([target, str(number), suite, *cells])
    return "Mean scores (runs):\n\n" + markdown_table(["target", "rows", "suite", *names], rows)


def paired_differences(
    results: Sequence[dict[str, Any]], name: str, baseline: str, suite: str | None = None
) -> list[float]:
    """
    The differences between two methods on equal target, suite, rows and seed.

    Args:
        results (`Sequence[dict]`): Lines of results.
        name (`str`): The method.
        baseline (`str`): The method that is subtracted.
        suite (`str`, *optional*): The suite. Defaults to all.
    """

    def scores(of: str) -> dict[tuple, float]:
        keys = ("target", "suite", "rows", "auxiliary_rows", "seed")
        chosen = (r for r in results if r["name"] == of and suite in (None, r["suite"]))
        return {tuple(r[key] for key in keys): r["score"] for r in chosen}

    ours, theirs = scores(name), scores(baseline)
    return [ours[key] - theirs[key] for key in ours if key in theirs]


def _differences(results: Sequence[dict[str, Any]], names: Sequence[str], baseline: str) -> str:
    suites = list(dict.fromkeys(result["suite"] for result in results))
    rows = []
    for name in names:
        if name == baseline:
            continue
        of_all = paired_differences(results, name, baseline)
        cells = [_interval(paired_differences(results, name, baseline, suite)) for suite in suites]
        rows.append([name, *cells, _interval(of_all), f"{100 * min(of_all):+.1f}" if of_all else ""])
    title = f"Differences from {baseline} with 95 % intervals (pairs of equal target, suite, rows and seed):"
    return f"{title}\n\n" + markdown_table(["method", *suites, "all", "worst pair"], rows)


def _interval(differences: Sequence[float]) -> str:
    if not differences:
        return ""
    estimate = mean_estimate([100 * difference for difference in differences])
    interval = f" [{estimate.low:+.1f}, {estimate.high:+.1f}]" if estimate.n > 1 else ""
    return f"{estimate.mean:+.1f}{interval} ({estimate.n})"


def _costs(results: Sequence[dict[str, Any]], names: Sequence[str]) -> str:
    rows = []
    for name in names:
        of_name = [result for result in results if result["name"] == name]
        seconds, steps = (
            f"{statistics.median(r[key] for r in of_name):.{d}f}" for key, d in (("seconds", 1), ("steps", 0))
        )
        rows.append([name, str(len(of_name)), steps, seconds])
    return "Median cost of a run:\n\n" + markdown_table(["method", "runs", "steps", "CPU seconds"], rows)
