"""The plot of a run: task weights and α over the epochs."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .history import HistoryEntry, best_was_loaded, kept_entry, tasks_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The palette of Okabe and Ito, without yellow, which is too pale for a line on white. Black is for the target.
TARGET_COLOUR = "#000000"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# Colours repeat from the seventh auxiliary on. The markers then distinguish the lines, also in greyscale.
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

WIDTH = 8.0
DPI = 150
LABEL_POINTS = 9
#: x position of the labels, in widths of the panel.
LABEL_X = 1.06


def plot_task_weights(history: Sequence[HistoryEntry], target: str, path: str | os.PathLike[str]) -> Path:
    """
    Draws each task's weight over the epochs, and below it α if the method has one. Epoch 0 shows the initial weights.

    A dotted line marks the epoch of the kept model if the best model was loaded at the end. Every line has its label
    at its end. If a task was pruned, its α ends there. The target is black. The function does
    not change matplotlib's global state, such as the backend.

    Args:
        history (`Sequence[dict]`): The history of the run, at least one epoch.
        target (`str`): The target task.
        path (`str` or `os.PathLike`): The PNG to write. Its folder is created if missing.

    Returns:
        `Path`: The file.

    Raises:
        ValueError: If the history is empty.
    """
    if not history:
        raise ValueError("the history is empty: plot it after the first epoch")
    # Imported here because matplotlib is slow to import and many runs draw no plot.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    tasks = tasks_of(history, target)
    epochs = [record["epoch"] for record in history]
    weights = {
        task: [history[0]["task_weights_used"].get(task, math.nan)]
        + [record["task_weights"].get(task, math.nan) for record in history]
        for task in tasks
    }
    alphas = {task: [record["alpha"].get(task, math.nan) for record in history] for task in tasks}
    panels: list[tuple[str, list[int], dict[str, list[float]]]] = [
        ("task weight w", [epochs[0] - 1, *epochs], weights)
    ]
    if any(record["alpha"] for record in history):
        panels.append(("α", epochs, alphas))

    panel_height = max(2.6, 0.21 * len(tasks) + 0.3)
    figure = Figure(figsize=(WIDTH, panel_height * len(panels) + 0.8), dpi=DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    figure.suptitle(f"Task weights over training, target: {target}", x=0.01, ha="left", fontsize=11, weight="bold")
    for panel, (title, xs, lines) in zip(axes, panels, strict=True):
        _draw_lines(panel, xs, lines, target)
        _style(panel, title, epochs)
        if best_was_loaded(history):
            panel.axvline(kept_entry(history).get("epoch", 0), color="0.4", linewidth=1.0, linestyle=":", zorder=1)
    if best_was_loaded(history):
        axes[0].set_title("dotted line: the kept model's epoch", loc="right", fontsize=9, color="0.4")
    axes[-1].set_xlabel("epoch")
    # Labels are laid out in pixels, so the panels need their final positions first.
    canvas.draw()
    for panel, (_, xs, lines) in zip(axes, panels, strict=True):
        _label_ends(panel, xs, lines, target)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png")
    return path


def _look(index: int) -> tuple[str, str]:
    """Colour and marker of the task at `index` (0 is the target)."""
    if index == 0:
        return TARGET_COLOUR, "o"
    return COLOURS[(index - 1) % len(COLOURS)], MARKERS[(index - 1) // len(COLOURS) % len(MARKERS)]


def _draw_lines(panel: Axes, xs: list[int], lines: dict[str, list[float]], target: str) -> None:
    panel.axhline(1.0, color="0.6", linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    for index, (task, values) in enumerate(lines.items()):
        colour, marker = _look(index)
        is_target = task == target
        panel.plot(
            xs,
            values,
            color=colour,
            marker=marker,
            # The target's line is wider and below the others, so that it shows even where another line covers it.
            markersize=7 if is_target else 4.5,
            linewidth=3 if is_target else 1.4,
            zorder=2 if is_target else 3,
            clip_on=False,
        )


def _style(panel: Axes, title: str, epochs: list[int]) -> None:
    from matplotlib.ticker import MaxNLocator

    panel.set_title(title, loc="left", fontsize=10)
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(axis="y", color="0.92", linewidth=0.8)
    panel.set_axisbelow(True)
    panel.set_xlim(epochs[0] - 1, epochs[-1])
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.tick_params(labelsize=9)
    low, high = panel.get_ylim()
    # Without this, equal weights would get ticks such as 0.96, which suggest movement.
    if high - low < 0.5:
        middle = (low + high) / 2
        panel.set_ylim(middle - 0.5, middle + 0.5)


def _label_ends(panel: Axes, xs: list[int], lines: dict[str, list[float]], target: str) -> None:
    """Labels each line to the right of its end. Labels that would overlap are moved apart; thin lines connect them."""
    drawn = {task: [(x, y) for x, y in zip(xs, ys, strict=True) if math.isfinite(y)] for task, ys in lines.items()}
    ends = {task: points[-1] for task, points in drawn.items() if points}
    pixels = {task: float(panel.transData.transform(end)[1]) for task, end in ends.items()}
    bottom, top = panel.bbox.y0, panel.bbox.y1
    line_height = 1.3 * LABEL_POINTS * DPI / 72
    # From the bottom up. Among equal values the first task goes on top.
    order = sorted(ends, key=lambda task: pixels[task], reverse=True)[::-1]
    places = spread([pixels[task] for task in order], line_height, bottom, top)
    for task, place in zip(order, places, strict=True):
        colour, marker = _look(list(lines).index(task))
        height = (place - bottom) / (top - bottom)
        panel.annotate(
            "",
            xy=ends[task],
            xycoords="data",
            xytext=(LABEL_X, height),
            textcoords="axes fraction",
            arrowprops={
                "arrowstyle": "-",
                "linestyle": "-" if ends[task][0] == xs[-1] else ":",
                "color": colour,
                "linewidth": 0.6,
                "alpha": 0.6,
                "shrinkA": 0,
                "shrinkB": 5,
            },
            annotation_clip=False,
        )
        panel.plot(LABEL_X, height, marker, color=colour, markersize=4.5, transform=panel.transAxes, clip_on=False)
        panel.text(
            LABEL_X + 0.012,
            height,
            f"{task}  {ends[task][1]:.2f}",
            transform=panel.transAxes,
            fontsize=LABEL_POINTS,
            color=colour,
            weight="bold" if task == target else "normal",
            va="center",
        )


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """
    Moves sorted positions apart until neighbours are at least `gap` apart, and keeps them close to their old places.

    Args:
        places (`Sequence[float]`): Positions in ascending order.
        gap (`float`): Minimum distance between neighbours. It shrinks if the positions would not fit otherwise.
        low, high (`float`): The range to stay in.

    Returns:
        `list[float]`: The new positions, in the same order.
    """
    if not places:
        return []
    gap = min(gap, (high - low) / max(1, len(places) - 1))
    # Groups of touching labels. Each group is centred on the mean of its members' wanted positions.
    groups: list[list[float]] = []
    for wanted in places:
        groups.append([wanted])
        while len(groups) > 1 and _start(groups[-1], gap, low, high) < _end(groups[-2], gap, low, high) + gap:
            last = groups.pop()
            groups[-1] += last
    return [_start(group, gap, low, high) + gap * i for group in groups for i in range(len(group))]


def _start(group: list[float], gap: float, low: float, high: float) -> float:
    length = gap * (len(group) - 1)
    return min(max(sum(group) / len(group) - length / 2, low), high - length)


def _end(group: list[float], gap: float, low: float, high: float) -> float:
    return _start(group, gap, low, high) + gap * (len(group) - 1)
