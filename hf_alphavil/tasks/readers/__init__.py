"""
Readers of data files, one per format.

A reader takes a file, the columns that must be there, and the column names of a file that has no header line; it gives
the rows as `(line, {column: value})`, lines counted from 1, and raises [`DataError`] for whatever is wrong.
"""

from .jsonl import read_jsonl
from .tsv import read_tsv

READERS = {"jsonl": read_jsonl, "tsv": read_tsv}

__all__ = ["READERS", "read_jsonl", "read_tsv"]
