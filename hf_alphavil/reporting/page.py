"""The page of a run: one HTML file that shows at a glance what the run found, without a network."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..files.atomic_file import atomic_write
from ..kinds import kind_of
from .charts import make_charts
from .encoder_name import encoder_in_words
from .facts import RunFacts
from .history import HistoryEntry, best_was_loaded, epochs_of_choice, fitted_entry, kept_entry, tasks_of
from .scores import CardScore, no_better_in_words
from .trust import rows_in_words, score_in_words
from .undone import undone_in_words
from .verdicts import HELPED, HURT, NO_EFFECT, SMALL_EFFECT, TOO_FEW_ROWS, Verdict, verdicts, verdicts_in_short

PAGE_FILE = "report.html"
TEMPLATE = Path(__file__).with_name("page.html")
#: The order of the verdicts on the page, with a sign for each, so that it does not depend on colours.
SIGNS = {HELPED: "▲", NO_EFFECT: "●", HURT: "▼", TOO_FEW_ROWS: "?"}
#: What to say where the page cannot be made.
WITHOUT_PLOTLY = (
    f"{PAGE_FILE} needs Plotly: pip install 'hf_alphavil[report]', then `alphavil report {{folder}}` writes it"
)
NO_CONTRIBUTIONS = (
    "This run has not measured what single tasks contributed (only αVIL does, with `measure_contributions`)."
)


def can_write_page() -> bool:
    """`bool`: Whether the libraries of the page are installed."""
    return all(find_spec(name) is not None for name in ("plotly", "jinja2"))


def write_page(
    directory: str | os.PathLike[str],
    facts: RunFacts,
    history: Sequence[HistoryEntry],
    log_history: Sequence[Mapping[str, Any]],
    examples: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
) -> Path:
    """
    Writes `report.html`.

    Args:
        directory (`str` or `os.PathLike`): The folder to write to. It is created if missing.
        facts (`RunFacts`): What is to be said of the run.
        history (`Sequence[dict]`): The history of the run; it may be empty.
        log_history (`Sequence[dict]`): Trainer's log.
        examples (`Mapping[str, Sequence[Mapping]]`, *optional*):
            Rows by task, with `texts` and `answer` ([`example_rows`]). They may be private: whoever gets the page can
            read them.

    Returns:
        `Path`: The file.

    Raises:
        ImportError: If Plotly is not installed.
    """
    if not can_write_page():
        raise ImportError(WITHOUT_PLOTLY.format(folder=directory))
    from jinja2 import Environment, StrictUndefined
    from plotly.offline import get_plotlyjs

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["code"] = _with_code
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    path = Path(directory) / PAGE_FILE
    atomic_write(
        path, template.render(plotly=get_plotlyjs(), **_contents(facts, history, log_history, examples or {}))
    )
    return path


def _contents(
    facts: RunFacts,
    history: Sequence[HistoryEntry],
    log_history: Sequence[Mapping[str, Any]],
    examples: Mapping[str, Sequence[Mapping[str, Any]]],
) -> dict[str, Any]:
    target, last, times = facts.target, kept_entry(history), epochs_of_choice(history)
    alpha, by_task = fitted_entry(history).get("alpha", {}), verdicts(history)
    names = list(dict.fromkeys([*tasks_of(history, target), *(task.name for task in facts.tasks if task.rows)]))
    held_out = facts.meta_rows if facts.alpha_data == "train_holdout" else None
    charts = make_charts(history, log_history, names, facts.alpha_data)
    return {
        "facts": facts,
        "encoder": encoder_in_words(facts.base_model),
        "verdicts": _verdict_rows(by_task, target),
        "verdicts_in_short": verdicts_in_short(history),
        "small_effect": f"{SMALL_EFFECT:.0%}",
        "no_better": no_better_in_words(facts.scores, target),
        "undone": undone_in_words(history),
        "summary": _summary(by_task, target),
        "scores": [_score_row(score, facts) for score in _target_first(facts.scores, target)],
        "epoch": _epoch_in_words(history),
        "charts": charts,
        "are_chosen": bool(times),
        "figures": {chart.id: chart.figure for chart in charts},
        "tasks": [
            {
                "name": task.name,
                "kind": kind_of(task).words,
                "rows": rows_in_words(f"{task.rows:,}", held_out if task.name == target else None),
                "weight": _number(last.get("task_weights", {}).get(task.name)),
                "alpha": _number(alpha.get(task.name)),
                "times": "" if task.name == target else str(times[task.name]),
                "examples": examples.get(task.name, ()),
            }
            for task in _target_first(facts.tasks, target)
        ],
    }


def _with_code(text: str) -> Any:
    """Words between backticks as code."""
    from markupsafe import Markup, escape

    return Markup().join(
        Markup("<code>{}</code>").format(part) if number % 2 else escape(part)
        for number, part in enumerate(text.split("`"))
    )


def _target_first(entries: Sequence[Any], target: str) -> list[Any]:
    return sorted(entries, key=lambda entry: getattr(entry, "task", getattr(entry, "name", None)) != target)


def _verdict_rows(found: Mapping[str, Verdict], target: str) -> list[dict[str, str]]:
    """The auxiliary tasks by verdict, the greatest contribution first, then the target's own updates."""
    order = list(SIGNS)
    ranked = sorted(
        found, key=lambda task: (task == target, order.index(found[task].words), -found[task].contribution)
    )
    return [
        {
            "name": f"{task} (target)" if task == target else task,
            "words": found[task].words,
            "sign": SIGNS[found[task].words],
            "interval": found[task].interval,
        }
        for task in ranked
    ]


def _summary(by_task: Mapping[str, Verdict], target: str) -> str:
    found = {task: verdict.words for task, verdict in by_task.items() if task != target}
    if not found:
        return NO_CONTRIBUTIONS
    counts = [f"{list(found.values()).count(words)} {words}" for words in SIGNS if words in found.values()]
    return f"Of {len(found)} auxiliary task{'' if len(found) == 1 else 's'}: {', '.join(counts)}."


def _score_row(score: CardScore, facts: RunFacts) -> dict[str, str]:
    return {
        "task": score.task,
        "metric": f"{score.split} {score.metric}",
        "value": f"{score.value:.4f}",
        "interval": f"{score.interval_in_words} ({score.rows} rows)" if score.interval else "",
        "majority": score.majority_in_words,
        "remark": score_in_words(
            score.split,
            score.task == facts.target,
            facts.alpha_data,
            facts.selected_on,
            facts.meta_use,
            is_selecting=score.task in (facts.selected_tasks or [facts.target]),
            step=score.step,
        ),
    }


def _epoch_in_words(history: Sequence[HistoryEntry]) -> str:
    if not history:
        return "No epoch was finished."
    epoch, number = kept_entry(history).get("epoch"), len(history)
    if not best_was_loaded(history):
        # The history of a checkpoint lacks the epochs that follow it.
        return (
            f"The model is that of the last of {number} finished epochs." if number > 1 else "One epoch was finished."
        )
    if epoch is None:
        return "The best model is from the first epoch, before its end."
    return f"The best model is that of epoch {epoch} of {number}."


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
