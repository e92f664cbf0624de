"""The charts of a run's page, as figures of Plotly: plain dicts, which need no library."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .cosines import COSINES_IN_WORDS, cosines
from .history import HistoryEntry, best_was_loaded, kept_entry, trains_target_alone
from .plots import COLOURS
from .verdicts import half_width

#: Markers as in the plot of the task weights: they distinguish tasks whose colours repeat.
SYMBOLS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x")
#: Most characters of a task's name in a legend, in that of a narrow screen, and on an axis. The whole name shows when
#: one points at a line.
NAME_LENGTH, NARROW_LENGTH, AXIS_LENGTH = 28, 18, 14
#: Most tasks whose cosines are written into the heat map.
MOST_NUMBERS = 8
#: Colours that the page sets, for its light and its dark form (page.html).
INK, MUTED, GRID, MIDDLE = "var(--ink)", "var(--muted)", "var(--grid)", "var(--middle)"
COSINE_COLOURS = [[0.0, "#D55E00"], [0.5, MIDDLE], [1.0, "#0072B2"]]
HEIGHT = 340
#: Room for the points of one epoch that stand side by side, in epochs.
DODGE = 0.3

Points = Sequence[tuple[float, float | None, float | None]]


@dataclass(frozen=True)
class Chart:
    """
    A chart of the page.

    Args:
        id (`str`): The id of its element.
        title (`str`): Its heading.
        words (`str`): What it shows.
        figure (`dict`): A figure of Plotly, with `data` and `layout`.
    """

    id: str
    title: str
    words: str
    figure: dict[str, Any]

    @property
    def height(self) -> int:
        """`int`: Height of its element, in pixels."""
        return self.figure["layout"]["height"]


def make_charts(
    history: Sequence[HistoryEntry],
    log_history: Sequence[Mapping[str, Any]],
    tasks: Sequence[str],
    alpha_data: str | None = None,
) -> list[Chart]:
    """
    The charts of a run. Those without any data are left out.

    Args:
        history (`Sequence[dict]`): The history of the run.
        log_history (`Sequence[dict]`): Trainer's log, with `loss_<task>`.
        tasks (`Sequence[str]`): The tasks, the target first. A task has the same colour and marker in all charts.
        alpha_data (`str`, *optional*): The source of the held-out rows, as in [`write_model_card`].
    """
    weights = {task: _weights(history, task) for task in tasks}
    are_constant = len({weight for points in weights.values() for _, weight, _ in points}) <= 1
    charts = [
        _lines(
            "alpha", "α", "The factors with which the tasks' updates were merged, by epoch.",
            {task: [(e["epoch"], e["alpha"].get(task), None) for e in history if e.get("alpha")] for task in tasks},
            history,
        ),
        _lines(
            "weights", "Task weights", "The weight w of each task after each epoch; epoch 0 has those it began with.",
            {} if are_constant else weights,
            history,
        ),
        _dodged(_lines(
            "contributions", "Contributions",
            "The target's held-out loss that each task's updates saved in an epoch: above 0, they helped. Bars are "
            "95 % intervals over the held-out rows. Tasks stand side by side within an epoch.",
            {task: _contributions(history, task) for task in tasks},
            history,
        )),
        _meta_values(history, trains_on_held_out_rows=alpha_data == "train_holdout"),
        _lines(
            "losses", "Training losses", "The mean training loss of each task in each phase, as it was logged.",
            {task: _losses(log_history, task) for task in tasks},
            history,
        ),
        _heat_map(history, tasks),
    ]  # fmt: skip
    return [chart for chart in charts if chart is not None]


def _weights(history: Sequence[HistoryEntry], task: str) -> Points:
    start = [(history[0]["epoch"] - 1, history[0].get("task_weights_used", {}).get(task), None)] if history else []
    return [*start, *((e["epoch"], e.get("task_weights", {}).get(task), None) for e in history)]


def _contributions(history: Sequence[HistoryEntry], task: str) -> Points:
    measured = [(e["epoch"], e["contribution"][task]) for e in history if task in e.get("contribution", {})]
    return [(epoch, of["mean"], half_width(of)) for epoch, of in measured]


def _losses(log_history: Sequence[Mapping[str, Any]], task: str) -> Points:
    key = f"loss_{task}"
    return [(entry["epoch"], entry[key], None) for entry in log_history if key in entry and "epoch" in entry]


def _lines(
    id: str, title: str, words: str, lines: Mapping[str, Points], history: Sequence[HistoryEntry]
) -> Chart | None:
    traces = [
        _trace(points, task, number) for number, (task, points) in enumerate(lines.items()) if _has_numbers(points)
    ]
    if not traces:
        return None
    layout = _layout(history)
    # A legend of many names has its own room below the chart, and scrolls beyond that.
    layout["height"] = HEIGHT + 24 * min(len(traces), 8)
    return Chart(id, title, words, {"data": traces, "layout": layout})


def _dodged(chart: Chart | None) -> Chart | None:
    """Moves the points of each line aside, so that the error bars of an epoch do not overlap."""
    traces = chart.figure["data"] if chart is not None else []
    for number, trace in enumerate(traces):
        aside = DODGE * ((number + 0.5) / len(traces) - 0.5)
        trace["customdata"] = trace["x"]
        trace["x"] = [x + aside for x in trace["x"]]
        trace["hovertemplate"] = trace["hovertemplate"].replace("%{x:", "%{customdata:")
    return chart


def _trace(points: Points, task: str, number: int) -> dict[str, Any]:
    """The line of a task: the target's, number 0, is wider and in the colour of the text."""
    colour = INK if number == 0 else COLOURS[(number - 1) % len(COLOURS)]
    symbol = "circle" if number == 0 else SYMBOLS[(number - 1) // len(COLOURS) % len(SYMBOLS)]
    trace = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": _short(task, NAME_LENGTH),
        "meta": _short(task, NARROW_LENGTH),
        "x": [x for x, _, _ in points],
        "y": [_finite(y) for _, y, _ in points],
        "line": {"color": colour, "width": 3 if number == 0 else 1.6},
        "marker": {"color": colour, "symbol": symbol, "size": 8},
        "hovertemplate": f"{html.escape(task)}<br>epoch %{{x:.4~g}}: %{{y:.4~g}}<extra></extra>",
    }
    widths = [_finite(width) for _, _, width in points]
    if any(width is not None for width in widths):
        trace["error_y"] = {"type": "data", "array": widths, "thickness": 1, "width": 3}
    return trace


def _meta_values(history: Sequence[HistoryEntry], trains_on_held_out_rows: bool) -> Chart | None:
    """
    The objective through the α steps: those of an epoch lie between its number and the one before.

    The last epochs, which train on the target alone, train on rows that were held out of its training data too. Their
    points would look like success.
    """
    objectives = ("loss", "metric", "entropy")
    objective = next((name for name in objectives if any(e.get(f"meta_{name}") for e in history)), "loss")
    points: list[tuple[float, float | None, float | None]] = []
    in_the_end = [entry["epoch"] for entry in history if trains_on_held_out_rows and trains_target_alone(entry)]
    for entry in history:
        if entry["epoch"] in in_the_end:
            continue
        values, epoch = entry.get(f"meta_{objective}") or [], entry["epoch"]
        steps = max(1, len(values) - 1)
        points += [(epoch - 1 + i / steps if len(values) > 1 else epoch, v, None) for i, v in enumerate(values)]
        points.append((epoch, None, None))  # a gap: the next epoch trains first
    if not _has_numbers(points):
        return None
    trace = _trace(points, f"held-out {objective}", 0)
    trace["line"]["width"], trace["marker"]["size"] = 1.6, 5
    layout = _layout(history) | {"showlegend": False}
    words = (
        f"The target's {objective} on held-out rows: from the start of α to its last step in each epoch, or once if "
        "the epoch fitted no α."
    )
    if in_the_end:
        words += f" Epochs from {in_the_end[0]} on trained on these rows too, and are left out."
    return Chart("held_out", f"Held-out {objective}", words, {"data": [trace], "layout": layout})


def _heat_map(history: Sequence[HistoryEntry], tasks: Sequence[str]) -> Chart | None:
    matrix = cosines(history)
    names = [task for task in tasks if task in matrix]
    if len(names) < 2:
        return None
    places, labels = list(range(len(names))), [_short(name, AXIS_LENGTH) for name in names]
    values = [[_finite(matrix[one][other]) for other in names] for one in names]
    trace = {
        "type": "heatmap",
        "x": places,
        "y": places,
        "z": values,
        "zmin": -1,
        "zmax": 1,
        "colorscale": COSINE_COLOURS,
        "xgap": 1,
        "ygap": 1,
        "colorbar": {"orientation": "h", "y": 1, "yanchor": "bottom", "thickness": 8, "outlinewidth": 0, "dtick": 1},
        "customdata": [[f"{html.escape(one)}, {html.escape(other)}" for other in names] for one in names],
        "hovertemplate": "%{customdata}: %{z:.3f}<extra></extra>",
    }
    if len(names) <= MOST_NUMBERS:
        trace |= {"texttemplate": "%{z:.2f}"}
    axis = {"tickmode": "array", "tickvals": places, "ticktext": labels, "ticks": "", "showgrid": False}
    axis |= {"zeroline": False, "automargin": True, "tickfont": {"size": 12 if len(names) <= MOST_NUMBERS else 9}}
    layout = _layout([]) | {
        "height": 180 + 28 * len(names),
        "xaxis": axis | {"tickangle": -90 if len(names) > 3 else 0},
        "yaxis": axis | {"autorange": "reversed"},
    }
    return Chart("cosines", "Cosines between updates", COSINES_IN_WORDS, {"data": [trace], "layout": layout})


def _layout(history: Sequence[HistoryEntry]) -> dict[str, Any]:
    axis = {"gridcolor": GRID, "zerolinecolor": MUTED, "linecolor": GRID, "automargin": True, "fixedrange": True}
    layout: dict[str, Any] = {
        "height": HEIGHT,
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "font": {"color": INK, "size": 13, "family": "system-ui, sans-serif"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hovermode": "closest",
        "dragmode": False,
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "y": 0, "yanchor": "bottom", "yref": "container"},
        "xaxis": axis | {"title": {"text": "epoch", "font": {"size": 13}}, "tickformat": "~g", "zeroline": False},
        "yaxis": axis | {"tickformat": "~g"},
    }
    if history:
        first, last = history[0]["epoch"] - 1, history[-1]["epoch"]
        margin = 0.04 * (last - first)
        # Equal in all charts, so that an epoch is at the same place.
        layout["xaxis"] |= {"range": [first - margin, last + margin], "dtick": 1 if len(history) <= 10 else None}
    if best_was_loaded(history) and (epoch := kept_entry(history).get("epoch")) is not None:
        place = {"yref": "paper", "y0": 0, "y1": 1, "x0": epoch, "x1": epoch}
        layout["shapes"] = [{"type": "line", "line": {"color": MUTED, "width": 1, "dash": "dot"}, **place}]
        side = "left" if epoch - history[0]["epoch"] < len(history) / 2 else "right"
        label = {"text": "kept", "showarrow": False, "xanchor": side, "yanchor": "top"}
        layout["annotations"] = [{"x": epoch, "y": 1, "yref": "paper", **label}]
    return layout


def _has_numbers(points: Points) -> bool:
    return any(_finite(y) is not None for _, y, _ in points)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _short(name: str, length: int) -> str:
    """A task's name, cut in its middle: names often differ at their ends. Plotly reads texts as a form of HTML."""
    half = length // 2
    return html.escape(name if len(name) <= length else f"{name[: length - half - 1]}…{name[-half:]}")
