"""
Markdown tables for model cards, pages and reports.

By hand, in one line: `tabulate`, which pandas' `to_markdown` needs too, would be one more dependency.
"""

from __future__ import annotations

from collections.abc import Sequence


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """
    Formats a Markdown table.

    Args:
        header (`Sequence[str]`): The headings.
        rows (`Sequence[Sequence[str]]`): Cells by row.

    Returns:
        `str`: The table, without a trailing line break.
    """
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, ["---"] * len(header), *rows))
