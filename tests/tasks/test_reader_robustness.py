"""
Whatever the bytes, a reader gives the rows that are there or one `DataError` with file, line and reason.

Files are written, damaged by hypothesis, read, and compared with an independent parse of the same bytes. Every test
has a few cases in `make test` and ten times as many in `make test-slow`; `HF_ALPHAVIL_FUZZ=20` makes twenty times as
many of either.
"""

import csv
import io
import json
import math
import os
import random

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hf_alphavil.tasks import DataError, load_tasks
from hf_alphavil.tasks.readers import READERS
from support.official_miniatures import FOLDERS, miniature_lines, split_files

TIMES = int(os.environ.get("HF_ALPHAVIL_FUZZ", "1"))
FEW_AND_MANY = pytest.mark.parametrize("share", [1, pytest.param(10, marks=pytest.mark.slow)])


def cases(number):
    return settings(
        max_examples=number * TIMES,
        deadline=None,
        derandomize=TIMES == 1,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


# ---- Files and what may happen to them

WORDS = ("cat", 'a "dog', "ünïcode", "", "7", "-1", "nan", "x" * 300, "semi;colon", "new line", "\u2028sep", "it's")
COLUMNS = ("text", "other", "label")


def table(draw):
    """Rows of three columns."""
    return [{name: draw.choice(WORDS) for name in COLUMNS} for _ in range(draw.randrange(1, 6))]


def written(form, draw):
    """The bytes of a whole file."""
    rows = table(draw)
    if form == "tsv":
        lines = ["\t".join(COLUMNS), *("\t".join(row.values()) for row in rows)]
        return "\n".join(lines).encode() + b"\n"
    if form == "csv":
        stream = io.StringIO()
        writer = csv.DictWriter(stream, COLUMNS, lineterminator=draw.choice(["\n", "\r\n"]))
        writer.writeheader()
        writer.writerows(
            {**row, "other": draw.choice([row["other"], "two\nlines", 'a ""quote"", here'])} for row in rows
        )
        return stream.getvalue().encode()
    if form == "jsonl":
        return "".join(json.dumps(row, ensure_ascii=draw.random() < 0.5) + "\n" for row in rows).encode()
    if form == "json":
        whole = rows if draw.random() < 0.5 else {"version": 1, "data": rows}
        return json.dumps(whole, indent=draw.choice([None, 1]), ensure_ascii=False).encode()
    if form == "text":
        return "".join(f"{row['other']}\n" for row in rows).encode()
    if form == "parquet":
        sink = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
        return sink.getvalue()
    return "".join(f"{line}\n" for line in miniature_lines(form, "train")).encode()


SNIPPETS = (
    b'"', b"\t", b",", b"\n", b"\r", b"\r\n", b"\n\n", b"\x00", b"\xff", b"\xef\xbb\xbf", b"NaN", b"Infinity", b"null",
    b"true", b"{", b"}", b"[", b"]", b"\\ud800", b"\\", b"1e999", b"-1", b"9" * 400, b"x" * 140_000, "\u2028".encode(),
    "\u0085".encode(), b"[" * 3000, b'"idx": 0, ', b'{"text": 1}\n', b" ",
)  # fmt: skip


def replaced(content, at, byte):
    return content[:at] + bytes([byte]) + content[at + 1 :]


def doubled_line(content, at):
    lines = content.split(b"\n")
    at %= len(lines)
    return b"\n".join([*lines[: at + 1], *lines[at:]])


def lost_line(content, at):
    lines = content.split(b"\n")
    at %= len(lines)
    return b"\n".join(lines[:at] + lines[at + 1 :])


def encoded_again(content, encoding):
    try:
        return content.decode().encode(encoding, errors="replace")
    except UnicodeDecodeError:
        return content


@st.composite
def damage(draw):
    """A function from bytes to bytes."""
    place, kind = draw(st.integers(0, 10_000)), draw(st.integers(0, 9))
    snippet, byte = draw(st.sampled_from(SNIPPETS)), draw(st.integers(0, 255))
    encoding = draw(st.sampled_from(["utf-16", "latin-1", "utf-8-sig", "utf-32", "cp1252"]))

    def apply(content):
        at = place % (len(content) + 1)
        if kind == 0:
            return replaced(content, at, byte)
        if kind == 1:
            return content[:at]
        if kind == 2:
            return content[:at] + content[at + 1 + byte % 7 :]
        if kind == 3:
            return encoded_again(content, encoding)
        if kind == 4:
            return content.replace(b"\n", b"\r\n")
        if kind == 5:
            return doubled_line(content, place)
        if kind == 6:
            return lost_line(content, place)
        if kind == 7:
            return content.removesuffix(b"\n")
        return content[:at] + snippet + content[at:]

    return apply


damages = st.lists(damage(), max_size=3)


# ---- An independent parse of the same bytes


def lines_of(content):
    return [line.removesuffix("\r") for line in content.decode("utf-8-sig").rstrip("\r\n").split("\n")]


def parsed(form, content):
    """The file's records, read by other code than the readers; raises if they are not in the format."""
    if form == "parquet":
        return pyarrow.parquet.read_table(io.BytesIO(content)).to_pylist()
    if form == "tsv":
        header, *rows = [line.split("\t") for line in lines_of(content)]
        return [dict(zip(header, row, strict=True)) for row in rows]
    if form == "csv":
        csv.field_size_limit(2**30)
        text = content.decode("utf-8-sig")
        header, *rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
        return [dict(zip(header, row, strict=True)) for row in rows]
    if form == "text":
        return [{"text": line} for line in lines_of(content) if line.strip()]
    if form == "json":
        whole = json.loads(content.decode("utf-8-sig"))
        return whole if isinstance(whole, list) else whole["data"]
    return [json.loads(line) for line in lines_of(content)]


def same(one, other):
    """Equality for which NaN equals NaN, and true does not equal 1."""
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


def check_error(error, file, content):
    assert str(error.file) == str(file)
    assert error.reason
    if error.line is not None:
        assert 1 <= error.line <= content.count(b"\n") + content.count(b"\r") + 1
    assert str(file) in str(error)


# ---- Readers by themselves

FLAT = ("tsv", "csv", "jsonl", "json", "text", "parquet")


@FEW_AND_MANY
@pytest.mark.parametrize("form", FLAT)
def test_damaged_files(form, share, tmp_path):
    outcomes = {"rows": 0, "error": 0}

    @cases(30 * share)
    @given(seed=st.integers(0, 10_000), applied=damages)
    def check(seed, applied):
        content = written(form, random.Random(seed))
        for apply in applied:
            content = apply(content)
        file = tmp_path / f"file.{form}"
        file.write_bytes(content)
        columns = ["text"] if form == "text" else list(COLUMNS)
        try:
            rows = [values for _, values in READERS[form](file, columns)]
        except DataError as error:
            outcomes["error"] += 1
            check_error(error, file, content)
            return
        outcomes["rows"] += 1
        expected = parsed(form, content)
        assert len(rows) == len(expected)
        for row, record in zip(rows, expected, strict=True):
            assert all(same(row[column], record[column]) for column in columns)

    check()
    assert min(outcomes.values()) > 0, outcomes  # neither refuses all nor takes all


@FEW_AND_MANY
@pytest.mark.parametrize("form", FLAT)
def test_intact_files(form, share, tmp_path):
    @cases(4 * share)
    @given(seed=st.integers(0, 10_000))
    def check(seed):
        content = written(form, random.Random(seed))
        expected = parsed(form, content)
        file = tmp_path / f"file.{form}"
        file.write_bytes(content)
        if form == "text" and not expected:
            with pytest.raises(DataError):
                list(READERS[form](file, ["text"]))
            return
        lines, rows = zip(*READERS[form](file, ["text"]), strict=True)
        assert [row["text"] for row in rows] == [record["text"] for record in expected]
        # A JSON list may be on one line: every row begins there.
        assert list(lines) == sorted(lines if form == "json" else set(lines))

    check()


def test_every_reader_is_covered():
    assert set(READERS) == {*FLAT, "multirc", "record"}


# ---- Through load_tasks, from the official layouts


def records_in(name, content):
    """The number of rows of a benchmark's training file, counted by other code."""
    lines = lines_of(content)
    if split_files(name)["train"].endswith(".tsv"):
        return len(lines) - (0 if name == "cola" else 1)
    objects = [json.loads(line) for line in lines]
    if name == "multirc":
        return sum(len(question["answers"]) for row in objects for question in row["passage"]["questions"])
    if name == "record":
        total = 0
        for row in objects:
            text = row["passage"]["text"]
            names = {text[entity["start"] : entity["end"] + 1] for entity in row["passage"]["entities"]}
            total += len(names) * len(row["qas"])
        return total
    return len(objects)


TASKS = ("rte", "mrpc", "cola", "stsb", "sst2", "qnli", "cb", "copa", "boolq", "wic", "wsc", "multirc", "record")


@FEW_AND_MANY
@pytest.mark.parametrize("name", TASKS)
def test_damaged_official_files(name, share, miniature):
    data_dir = miniature(name)
    file = data_dir / FOLDERS[name] / split_files(name)["train"]
    whole = file.read_bytes()
    outcomes = {"rows": 0, "error": 0}

    @cases(8 * share)
    @given(applied=damages)
    def check(applied):
        content = whole
        for apply in applied:
            content = apply(content)
        file.write_bytes(content)
        try:
            train = load_tasks(name, data_dir=data_dir)[name].train
        except DataError as error:
            outcomes["error"] += 1
            check_error(error, file, content)
            return
        outcomes["rows"] += 1
        assert len(train) == records_in(name, content)

    check()
    assert min(outcomes.values()) > 0, outcomes
