"""
Readers of data files, one per format, on the modules `csv` and `json` and on pyarrow.

By hand on top of them: `datasets.load_dataset` guesses types and does not say on which line of a file a faulty row is.

A reader takes a file, the columns that the file must have, the column names of a file without a header line, and a
function that is called with the error of every faulty row and raises it by default. It yields the rows as `(line,
{column: value})`, with lines counted from 1 (for Parquet, rows counted from 0). It raises [`DataError`] for a fault of
the whole file.
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
#: The format of a file by its suffix, if the definition does not set one.
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
