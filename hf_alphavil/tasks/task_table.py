"""The table of all benchmark tasks, made from their definitions so that the documentation cannot drift."""

from __future__ import annotations

from ..files.markdown import markdown_table
from .definition import BENCHMARK_NAMES, SPLITS, benchmark_definitions

KIND_NAMES = {
    "sequence_classification": "classification",
    "regression": "regression",
    "multiple_choice": "multiple choice",
}


def task_table() -> str:
    """All benchmark tasks as a Markdown table: name, benchmark, type, metrics, official sizes and source."""
    rows = []
    for definition in [one for benchmark in BENCHMARK_NAMES for one in benchmark_definitions(benchmark)]:
        settings, hub = definition.settings, definition.hub
        assert hub is not None  # of a benchmark task
        kind = KIND_NAMES[settings["kind"]]
        if settings["kind"] == "sequence_classification":
            kind += f", {len(settings['labels'])} labels"
        if definition.head_tasks:
            kind += f"; {' or '.join(f'`{head}`' for head in definition.head_tasks)}'s head"
        rows.append(
            [
                f"`{definition.key}`",
                BENCHMARK_NAMES[definition.benchmark or ""],
                kind,
                ", ".join(f"`{metric}`" for metric in settings["metrics"]),
                " / ".join(f"{definition.sizes[split]:,}" if split in definition.sizes else "–" for split in SPLITS),
                f"`{hub.path}`, `{hub.name}`",
            ]
        )
    return markdown_table(["task", "benchmark", "type", "metrics", "train / validation / test", "source"], rows)
