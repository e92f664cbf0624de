"""The plots of a comparison: paired differences, and the scores behind them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from ..reporting.plots import COLOURS, DPI
from .results import Results

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
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    baseline = results.comparison.baseline
    names = [name for name in results.methods if name != baseline and results.difference(name).n]
    if not names:
        return
    figure = Figure(figsize=(7, 1.5 + ROW_HEIGHT * len(names)), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.axvline(0, color="0.6", linewidth=0.8, zorder=1)
    for row, name in enumerate(names):
        estimate = results.difference(name)
        colour = BETTER if estimate.low > 0 else WORSE if estimate.high < 0 else OPEN
        if not math.isnan(estimate.low):
            axes.plot([estimate.low, estimate.high], [row, row], color=colour, linewidth=2, solid_capstyle="butt")
        axes.plot(estimate.mean, row, "o", color=colour, markersize=5)
    _style(axes, [f"{name}  (n = {results.difference(name).n})" for name in names])
    axes.set_xlabel(f"difference to {baseline}, points", fontsize=LABEL_POINTS)
    axes.set_title(
        "Mean paired difference and 95 % interval\n"
        "blue: above 0, orange: below 0, grey: the interval contains 0\n"
        "(with fewer than about ten pairs, intervals are too narrow)",
        loc="left", fontsize=10,
    )  # fmt: skip
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
        metric = next(run["metric"] for run in results.runs if run["target"] == target)
        panel.set_title(target, loc="left", fontsize=10)
        panel.set_xlabel(f"{metric}, points", fontsize=LABEL_POINTS)
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
