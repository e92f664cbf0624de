"""
Readers of data files, one per format.

A reader takes a file, the columns that must be there, the column names of a file that has no header line, and a
report of faulty rows, which by default raises; it gives the rows as `(line, {column: value})`, lines counted from 1
(of Parquet, rows), and raises [`DataError`] for whatever is wrong with the whole file.
"""

from .csv_file import read_csv
from .json_file import read_json
from .jsonl import read_jsonl
from .multirc import read_multirc
from .parquet import read_parquet
from .record import read_record
from .text import read_text
from .tsv import read_tsv

READERS = {
    "csv": read_csv,
    "json": read_json,
    "jsonl": read_jsonl,
    "multirc": read_multirc,
    "parquet": read_parquet,
    "record": read_record,
    "text": read_text,
    "tsv": read_tsv,
}
#: The format of a file by its suffix, where nothing else says it.
SUFFIXES = {
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".tsv": "tsv",
    ".txt": "text",
}

__all__ = ["READERS", "SUFFIXES"]
