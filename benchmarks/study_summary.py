"""Tables of a study: mean scores, paired differences, verdicts against the truth, and costs.

python benchmarks/study_summary.py RESULTS... [--plot FILE.png]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hf_alphavil.comparing.estimates import Estimate, mean_estimate
from hf_alphavil.comparing.left_out import TOO_FEW_SEEDS, verdict_of
from hf_alphavil.files.markdown import markdown_table
from hf_alphavil.reporting.verdicts import HELPED, HURT, NO_EFFECT, TOO_FEW_ROWS, verdicts
from low_resource_data import AUXILIARIES

#: The methods that others are compared with.
BASELINES = ("multitask", "single")
#: The suites whose auxiliaries' use is known.
KNOWN = tuple(AUXILIARIES)
#: What must be equal in a pair of runs.
PROBLEM = ("target", "suite", "rows", "auxiliary_rows", "training_seed", "seed")


def summary(results: Sequence[dict[str, Any]]) -> str:
    """
    Formats the results of a study, in points.

    Args:
        results (`Sequence[dict]`): Lines of a study's results, or of several.

    Returns:
        `str`: Markdown: the mean score and number of runs by problem; by suite, the mean difference from each
        baseline with its 95 % interval; verdicts by task; what each auxiliary gives, where it was left out; and the
        cost of a run.
    """
    left_out = left_out_table(results)
    results = [result for result in results if "without" not in result]
    names = list(dict.fromkeys(result["name"] for result in results))
    parts = [_means(results, names)]
    parts += [_differences(results, names, baseline) for baseline in BASELINES if baseline in names]
    return "\n\n".join([*parts, *_verdicts(results, names), *left_out, _costs(results, names)])


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
    results: Sequence[dict[str, Any]], name: str, baseline: str, suites: Sequence[str] | None = None
) -> dict[tuple, float]:
    """
    The differences between two methods on equal problems, in points.

    Args:
        results (`Sequence[dict]`): Lines of results.
        name (`str`): The method.
        baseline (`str`): The method that is subtracted.
        suites (`Sequence[str]`, *optional*): The suites. Defaults to all.

    Returns:
        `dict[tuple, float]`: By the values of `PROBLEM`.
    """

    def scores(of: str) -> dict[tuple, float]:
        chosen = (
            r for r in results if r["name"] == of and "without" not in r and (suites is None or r["suite"] in suites)
        )
        return {tuple(r.get(key) for key in PROBLEM): 100 * r["score"] for r in chosen}

    ours, theirs = scores(name), scores(baseline)
    return {key: ours[key] - theirs[key] for key in ours if key in theirs}


def mean_difference(differences: dict[tuple, float]) -> Estimate:
    """
    The mean difference, with Student's interval over independent draws of rows.

    Problems with equal target and seed share the target's rows. Their differences are averaged first, and the interval
    is that of these means.

    Args:
        differences (`dict[tuple, float]`): Of [`paired_differences`].

    Returns:
        `Estimate`: `n` is the number of pairs of target and seed.
    """
    draws = defaultdict(list)
    for (target, *_, seed), difference in differences.items():
        draws[target, seed].append(difference)
    return mean_estimate([statistics.mean(of_draw) for of_draw in draws.values()])


def _differences(results: Sequence[dict[str, Any]], names: Sequence[str], baseline: str) -> str:
    suites = list(dict.fromkeys(result["suite"] for result in results))
    columns = {suite: (suite,) for suite in suites}
    if set(KNOWN) <= set(suites):
        columns[" and ".join(KNOWN)] = KNOWN
    if len(suites) > 1:
        columns["all"] = tuple(suites)
    rows = []
    for name in names:
        if name != baseline:
            cells = [_interval(paired_differences(results, name, baseline, column)) for column in columns.values()]
            pairs = paired_differences(results, name, baseline).values()
            rows.append([name, *cells, f"{min(pairs):+.1f} of {len(pairs)}" if pairs else ""])
    title = f"Differences from {baseline} with 95 % intervals (independent draws of rows):"
    return f"{title}\n\n" + markdown_table(["method", *columns, "worst pair"], rows)


def _interval(differences: dict[tuple, float]) -> str:
    if not differences:
        return ""
    estimate = mean_difference(differences)
    return f"{_shown(estimate)} ({estimate.n})"


def _shown(estimate: Estimate) -> str:
    interval = f" [{estimate.low:+.1f}, {estimate.high:+.1f}]" if estimate.n > 1 else ""
    return f"{estimate.mean:+.1f}{interval}"


def _verdicts(results: Sequence[dict[str, Any]], names: Sequence[str]) -> list[str]:
    """What runs say of tasks whose use is known. Tasks with permuted labels count as one."""
    rows = []
    for name in names:
        counts: dict[str, Counter] = defaultdict(Counter)
        for result in results:
            if result["name"] == name and result["suite"] in KNOWN:
                for task, verdict in verdicts(result.get("history", ())).items():
                    if task != result["target"]:
                        counts["shuffled" if task.startswith("shuffled") else task][verdict.words] += 1
        for task, of_task in sorted(counts.items()):
            words = (HELPED, NO_EFFECT, HURT, TOO_FEW_ROWS)
            rows.append([name, task, str(of_task.total()), *(str(of_task[verdict]) for verdict in words)])
    if not rows:
        return []
    header = ["method", "task", "verdicts", HELPED, NO_EFFECT, HURT, TOO_FEW_ROWS]
    return [f"Verdicts in the suites {' and '.join(KNOWN)}:\n\n" + markdown_table(header, rows)]


def left_out_table(results: Sequence[dict[str, Any]]) -> list[str]:
    """
    What leaving out each auxiliary says: its mean effect, and how often it is said to help.

    A verdict is over the training seeds of one draw of rows, by the rule of `alphavil compare`.

    Args:
        results (`Sequence[dict]`): Lines of results.

    Returns:
        `list[str]`: A title with a table; empty if no auxiliary was left out.
    """
    with_all = {_case(result): result["score"] for result in results if "without" not in result}
    differences = defaultdict(list)
    for result in results:
        if "without" in result and _case(result) in with_all:
            task = *(result[key] for key in ("name", "target", "rows", "auxiliary_rows", "suite")), result["without"]
            differences[task, result["seed"]].append(100 * (with_all[_case(result)] - result["score"]))
    by_task = defaultdict(list)
    for (task, _), of_draw in differences.items():
        by_task[task].append(mean_estimate(of_draw))
    lines = []
    for (name, target, rows, _, suite, auxiliary), draws in by_task.items():
        gives = mean_estimate([draw.mean for draw in draws])
        effect = _shown(gives), str(gives.n)
        words = Counter(map(verdict_of, draws))
        counts = (str(words[word]) for word in (HELPED, NO_EFFECT, HURT, TOO_FEW_SEEDS))
        lines.append([name, target, str(rows), suite, auxiliary, *effect, *counts])
    if not lines:
        return []
    header = ["method", "target", "rows", "suite", "auxiliary", "gives", "draws", HELPED, NO_EFFECT, HURT]
    title = "What each auxiliary gives, in points with 95 % intervals over draws, and verdicts over training seeds:"
    return [f"{title}\n\n" + markdown_table([*header, TOO_FEW_SEEDS], lines)]


def _case(result: dict[str, Any]) -> tuple:
    return result["name"], *(result.get(key) for key in PROBLEM)


def _costs(results: Sequence[dict[str, Any]], names: Sequence[str]) -> str:
    rows = []
    for name in names:
        of_name = [result for result in results if result["name"] == name]
        seconds, steps = (
            f"{statistics.median(r[key] for r in of_name):.{d}f}" for key, d in (("seconds", 1), ("steps", 0))
        )
        on_gpu = [result["gpu_bytes"] for result in of_name if result.get("gpu_bytes")]
        memory = f"{statistics.median(on_gpu) / 2**20:.0f}" if on_gpu else "–"
        rows.append([name, str(len(of_name)), steps, seconds, memory])
    header = ["method", "runs", "steps", "seconds", "peak GPU memory (MiB)"]
    return "Median cost of a run:\n\n" + markdown_table(header, rows)


def plot_differences(results: Sequence[dict[str, Any]], path: Path) -> None:
    """
    Draws every method's mean difference from the baselines by suite, with its interval.

    Args:
        results (`Sequence[dict]`): Lines of results.
        path (`Path`): The PNG to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from hf_alphavil.reporting.plots import COLOURS, DPI, MARKERS

    names = list(dict.fromkeys(result["name"] for result in results))
    suites = list(dict.fromkeys(result["suite"] for result in results))
    baselines = [name for name in BASELINES if name in names]
    figure = Figure(figsize=(9, 1.4 + 0.36 * len(names)), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(baselines), sharey=True, squeeze=False)[0]
    for panel, baseline in zip(panels, baselines, strict=True):
        panel.axvline(0, color="0.6", linewidth=0.8)
        for place, suite in enumerate(suites):
            shift = 0.2 * (place - (len(suites) - 1) / 2)
            for row, name in enumerate(names):
                differences = paired_differences(results, name, baseline, (suite,))
                if name == baseline or not differences:
                    continue
                estimate = mean_difference(differences)
                panel.plot([estimate.low, estimate.high], [row + shift] * 2, color=COLOURS[place], linewidth=1.4)
                label = suite if row == len(names) - 1 else None
                panel.plot(estimate.mean, row + shift, MARKERS[place], color=COLOURS[place], markersize=4, label=label)
        panel.set_yticks(range(len(names)), names, fontsize=9)
        panel.set_ylim(len(names) - 0.5, -0.5)
        panel.set_xlabel(f"difference from {baseline}, points", fontsize=9)
        panel.spines[["top", "right", "left"]].set_visible(False)
        panel.tick_params(axis="y", length=0)
        panel.grid(axis="x", color="0.92", linewidth=0.8)
        panel.set_axisbelow(True)
    handles, labels = panels[-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=len(suites), frameon=False, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png")


def main() -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+", help="files of JSON lines")
    parser.add_argument("--plot", type=Path, help="PNG of the differences")
    options = parser.parse_args()
    lines = (line for path in options.results for line in path.read_text().splitlines())
    results = list({result["id"]: result for result in map(json.loads, lines)}.values())
    print(summary(results))
    if options.plot:
        plot_differences(results, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
