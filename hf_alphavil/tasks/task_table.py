"""The table of all benchmark tasks, made from their definitions so that the documentation cannot drift."""

from __future__ import annotations

from ..files.markdown import markdown_table
from ..kinds import kind_of
from .registry import BENCHMARK_NAMES, benchmark_definitions
from .task import SPLITS


def task_table() -> str:
    """All benchmark tasks as a Markdown table: name, benchmark, type, metrics, official sizes and source."""
    rows = []
    for definition in [one for benchmark in BENCHMARK_NAMES for one in benchmark_definitions(benchmark)]:
        spec, hub = definition.spec, definition.hub
        assert hub is not None  # every task of a benchmark has one
        kind, labels = kind_of(spec), kind_of(spec).labels_of(spec)
        words = kind.words + (f", {kind.labels_in_words(labels)}" if labels is not None else "")
        if definition.head_tasks:
            words += f"; {' or '.join(f'`{head}`' for head in definition.head_tasks)}'s head"
        rows.append(
            [
                f"`{definition.key}`",
                BENCHMARK_NAMES[definition.benchmark or ""],
                words,
                ", ".join(f"`{metric}`" for metric in spec.metrics),
                " / ".join(f"{definition.sizes[split]:,}" if split in definition.sizes else "–" for split in SPLITS),
                f"`{hub.path}`, `{hub.name}`",
            ]
        )
    return markdown_table(["task", "benchmark", "type", "metrics", "train / validation / test", "source"], rows)
