"""The plots of a comparison: paired differences, the scores behind them, and what each auxiliary gives."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..reporting.plots import COLOURS, DPI
from .estimates import Estimate
from .left_out import LEAST_SEEDS
from .results import SIGN, Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BETTER, WORSE, OPEN = COLOURS[0], COLOURS[1], "0.45"
ROW_HEIGHT = 0.28
LABEL_POINTS = 9


def plot_differences(results: Results, path: Path) -> None:
    """
    Plots each method's mean paired difference to the baseline with its interval, over all targets.

    If no method shares a pair with the baseline, no plot is written.

    Args:
        results (`Results`): The finished runs.
        path (`Path`): The PNG to write.
    """
    baseline = results.comparison.baseline
    estimates = {name: results.difference(name) for name in results.methods if name != baseline}
    _plot_estimates(
        {name: estimate for name, estimate in estimates.items() if estimate.n},
        "Mean paired difference and 95 % interval",
        "(with fewer than about ten pairs, intervals are too narrow)",
        f"difference to {baseline}, points ({SIGN})",
        path,
    )


def plot_auxiliaries(results: Results, path: Path) -> None:
    """
    Plots what each auxiliary gives, with its interval.

    If no method has finished with and without an auxiliary, no plot is written.

    Args:
        results (`Results`): The finished runs.
        path (`Path`): The PNG to write.
    """
    found = [one for one in results.left_out() if one.gives.n]
    _plot_estimates(
        {f"{one.target}, {one.method}: {one.auxiliary}": one.gives for one in found},
        "What each auxiliary gives: mean and 95 % interval",
        f"(fewer than {LEAST_SEEDS} seeds cannot tell)",
        f"difference to the score without it, points ({SIGN})",
        path,
        LEAST_SEEDS,
    )


def _plot_estimates(
    estimates: Mapping[str, Estimate], title: str, remark: str, label: str, path: Path, least: int = 2
) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not estimates:
        return
    figure = Figure(figsize=(7, 1.5 + ROW_HEIGHT * len(estimates)), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.axvline(0, color="0.6", linewidth=0.8, zorder=1)
    for row, estimate in enumerate(estimates.values()):
        is_open = estimate.n < least or not (estimate.low > 0 or estimate.high < 0)
        colour = OPEN if is_open else BETTER if estimate.low > 0 else WORSE
        if not math.isnan(estimate.low):
            axes.plot([estimate.low, estimate.high], [row, row], color=colour, linewidth=2, solid_capstyle="butt")
        axes.plot(estimate.mean, row, "o", color=colour, markersize=5)
    _style(axes, [f"{name}  (n = {estimate.n})" for name, estimate in estimates.items()])
    axes.set_xlabel(label, fontsize=LABEL_POINTS)
    colours = "blue: better, orange: worse, grey: the interval contains 0"
    axes.set_title(f"{title}\n{colours}\n{remark}", loc="left", fontsize=10)
    _save(figure, path)


def plot_scores(results: Results, path: Path) -> None:
    """
    Plots the scores of every target and method: a ring per seed, a dot for the mean, a bar for its interval.

    Args:
        results (`Results`): The finished runs.
        path (`Path`): The PNG to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    comparison, names = results.comparison, results.methods
    targets = [target for target in comparison.targets if any(run["target"] == target for run in results.runs)]
    figure = Figure(
        figsize=(max(6.0, 1.8 + 2.4 * len(targets)), 1.5 + ROW_HEIGHT * len(names)), dpi=DPI, layout="constrained"
    )
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(targets), sharey=True, squeeze=False)[0]
    for panel, target in zip(panels, targets, strict=True):
        for row, name in enumerate(names):
            points, estimate = results.points(name, target), results.score(name, target)
            colour = "black" if name == comparison.baseline else COLOURS[0]
            panel.plot(points, [row] * len(points), "o", color=colour, markersize=4, markerfacecolor="none", alpha=0.6)
            if points:
                panel.plot(estimate.mean, row, "o", color=colour, markersize=5)
        _draw_intervals(panel, results, target)
        _style(panel, [f"{name} (baseline)" if name == comparison.baseline else name for name in names])
        panel.set_title(target, loc="left", fontsize=10)
        panel.set_xlabel(f"{results.metric(target)}, points", fontsize=LABEL_POINTS)
    figure.suptitle(
        "Validation scores: seeds (rings), mean and 95 % interval\nbars can extend beyond the edge of a panel",
        x=0.01,
        ha="left",
        fontsize=10,
    )
    _save(figure, path)


def _draw_intervals(panel: Axes, results: Results, target: str) -> None:
    """Draws the intervals. Those of two or three seeds can be far wider than the scores, so the panel clips them."""
    low, high = panel.get_xlim()
    margin = 0.5 * (high - low)
    for row, name in enumerate(results.methods):
        estimate = results.score(name, target)
        if not math.isnan(estimate.low):
            colour = "black" if name == results.comparison.baseline else COLOURS[0]
            panel.plot([estimate.low, estimate.high], [row, row], color=colour, linewidth=1.4, alpha=0.7)
    panel.set_xlim(low - margin, high + margin)


def _style(panel: Axes, labels: list[str]) -> None:
    panel.set_yticks(range(len(labels)), labels, fontsize=LABEL_POINTS)
    panel.set_ylim(len(labels) - 0.5, -0.5)
    panel.tick_params(axis="x", labelsize=LABEL_POINTS)
    panel.tick_params(axis="y", length=0)
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.grid(axis="x", color="0.92", linewidth=0.8)
    panel.set_axisbelow(True)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png")
