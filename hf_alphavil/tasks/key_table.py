"""The table of the keys of a task's YAML file, made from their declarations so that the documentation cannot drift."""

from __future__ import annotations

from ..files.markdown import markdown_table
from ..kinds import KINDS
from .definition_checks import KEYS, PARTS


def key_table() -> str:
    """Every key of a task's YAML file as a Markdown table: the key and its meaning."""
    rows = []
    for name, key in KEYS.items():
        inner = [(f"{name}.{part}", one) for part, one in PARTS.get(name, {}).items()]
        for path, one in [(name, key), *inner]:
            meaning = one.help + (f": {', '.join(f'`{kind}`' for kind in KINDS)}" if path == "kind" else "")
            rows.append([f"`{path}`", meaning + (" (only in benchmark tasks)" if one.packaged_only else "")])
    return markdown_table(["key", "meaning"], rows)
