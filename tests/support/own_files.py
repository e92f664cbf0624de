"""Rows of a user's own, written in the format that a file's suffix says."""

import csv
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet

ROWS = [
    {"title": "Rain", "body": 'It "rained", all day.', "mood": "bad"},
    {"title": "Sun", "body": "Two\nlines", "mood": "good"},
    {"title": "", "body": "ünïcode\u2028", "mood": "bad"},
]
MOOD = """
kind: sequence_classification
text_columns: [title, body]
label_column: mood
files:
  splits: {train: FILE}
"""


def write_rows(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".tsv":
        lines = ["\t".join(rows[0]), *("\t".join(map(str, row.values())) for row in rows)]
        path.write_text("\n".join(lines), encoding="utf-8")
    elif path.suffix in (".jsonl", ".ndjson"):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows, indent=2), encoding="utf-8")
    else:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path
