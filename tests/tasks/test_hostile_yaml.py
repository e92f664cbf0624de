"""YAML files that would change silently, take the machine, or fail in the words of a library."""

import os
import random
import time

import pytest
import yaml

from hf_alphavil.tasks import DataError, load_tasks
from support.own_files import write_rows

#: Processor seconds that a refusal may take; a second on a machine that is not busy.
SECONDS = 3

TASK = """
mood:
  kind: sequence_classification
  text_columns: [title, body]
  label_column: tone
  labels: ["bad", "good"]
  metrics: [accuracy, f1]
  main_metric: accuracy
  files:
    splits: {train: train.csv, validation: dev.csv}
    columns: {tone: mood}
  submission: {file_name: mood.tsv, labels: ["b", "g"], decimals: 3}
"""
ROWS = [{"title": f"t{i}", "body": "text", "mood": ("bad", "good")[i % 2]} for i in range(6)]


def bomb(levels, item="[x, x]"):
    """A mapping whose last value is 2 ** `levels` values when aliases are written out."""
    lines = [f"a0: &a0 {item}"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, levels)]
    return "\n".join(lines) + "\n"


def merges(levels):
    """Mappings that merge each other."""
    lines = ["a0: &a0 {k: v}"] + [f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}" for i in range(1, levels)]
    return "\n".join(lines) + "\n"


@pytest.fixture
def folder(tmp_path):
    write_rows(tmp_path / "train.csv", ROWS)
    write_rows(tmp_path / "dev.csv", ROWS)
    return tmp_path


def refusal(path):
    """The one line with which a definition is refused, without the path."""
    started = time.process_time()
    with pytest.raises(DataError) as caught:
        load_tasks(str(path))
    assert time.process_time() - started < SECONDS
    assert str(caught.value).startswith(str(path.resolve()))
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(str(path.resolve()))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("mood:\n", "no:\n", ", line 2: 'no' is read as false."),
        ("mood:\n", "true:\n", ", line 2: 'true' is read as true."),
        ("mood:\n", "012:\n", ", line 2: '012' is read as the number 10."),
        ("mood:\n", "2024-01-01:\n", ", line 2: '2024-01-01' is read as a date."),
        ("mood:\n", "~:\n", ", line 2: '~' is read as nothing."),
        ('["bad", "good"]', "[off, on]", ", line 6: 'off' is read as false."),
        (
            '["bad", "good"]',
            "[1:30, 1:31]",
            ", line 6: '1:30' is read as the number 90. Write it in quotes if it is text.",
        ),
        (
            '["bad", "good"]',
            "[0x1F, 2]",
            ", line 6: '0x1F' is read as the number 31. Write it in quotes if it is text.",
        ),
        ("{tone: mood}", "{tone: No}", ", line 11: 'No' is read as false."),
        ("{tone: mood}", "{no: mood}", ", line 11: 'no' is read as false."),
        (
            "{tone: mood}",
            "{tone: =}",
            ", line 11: '=' is read as an operator of YAML. Write it in quotes if it is text.",
        ),
        ("decimals: 3", "decimals: 1_0", ", line 12: '1_0' is read as the number 10."),
        ("{tone: mood}", "{? [tone] : mood}", ", line 11: has a list or a mapping as a key: write a name."),
        ("{tone: mood}", "&m {<<: *m}", ": nests too deeply, or an alias is inside the value that it refers to."),
        ("[title, body]", "[" * 3000 + "]" * 3000, ": nests too deeply"),
        ("[title, body]", "[" + "x," * 6_000 + "x]", ": holds more than 5000 values"),
        ("[title, body]", "x" * 2**17, " bytes, and at most 131072 are read."),
    ],
)
def test_a_word_in_a_definition(folder, old, new, reason):
    assert old in TASK
    (folder / "tasks.yaml").write_text(TASK.replace(old, new, 1))
    told = refusal(folder / "tasks.yaml")
    assert reason in told
    assert ("is read as" in told) == told.endswith("Write it in quotes if it is text.")


@pytest.mark.parametrize("text", [bomb(40), merges(40), f"{bomb(40)}mood:\n  kind: *a39\n", bomb(3000)])
def test_alias_bombs(folder, text):
    (folder / "tasks.yaml").write_text(text)
    assert "holds more than 5000 values, with its aliases written out." in refusal(folder / "tasks.yaml")


def test_what_looks_like_what_it_is(folder):
    """Words that YAML reads as they look need no quotes: a number as a name, true, an infinite end of a range."""
    text = TASK.replace("mood:", "2024:", 1).replace("main_metric", "greater_is_better: true\n  main_metric")
    text += "scores:\n  kind: regression\n  text_columns: [body]\n  score_range: [-.inf, +5]\n"
    text += "  files: {splits: {train: scores.csv}}\n"
    write_rows(folder / "scores.csv", [{"body": "text", "label": 1.5}])
    (folder / "tasks.yaml").write_text(text)
    tasks = load_tasks(str(folder / "tasks.yaml"))
    assert list(tasks) == ["2024", "scores"]
    assert tasks["scores"].score_range == (float("-inf"), 5)


def test_only_regular_files_are_read(folder):
    os.mkfifo(folder / "pipe.yaml")
    (folder / "zero.yaml").symlink_to("/dev/zero")
    (folder / "folder.yaml").mkdir()
    for name in ("pipe", "zero"):
        assert refusal(folder / f"{name}.yaml") == ": is a device, a pipe or a socket, not a regular file."
        with pytest.raises(DataError, match="not a regular file"):
            load_tasks("mood", include_path=folder / f"{name}.yaml")
    assert refusal(folder / "folder.yaml") == ": is a folder, not a file."
    for old, new in (("train.csv", "pipe.yaml"), ("dev.csv", "zero.yaml")):
        text = TASK.replace(old, new).replace("    columns", "    format: csv\n    columns")
        (folder / "tasks.yaml").write_text(text)
        with pytest.raises(DataError, match=r"(pipe|zero).yaml: is a device, a pipe or a socket, not a regular file"):
            load_tasks(str(folder / "tasks.yaml"))


# ---- A seeded fuzz: hostile values in random places

VALUES = [
    "no", "Yes", "ON", "off", "~", "null", "Null", "012", "0x1F", "0b11", "1_000", "1:30", "1:30.5", "+1", "1e999",
    "2024-01-01", "2024-13-45", ".nan", "-.inf", "=", "<<", "!!int ''", "!!bool maybe", "!!binary aGk=",
    "!!set {a, b}", "!!python/object/apply:os.system [id]", "!!python/name:os.system", "!unknown x", "*missing",
    "&a [*a]",
    '"a\\0b"', '"\\ud800"', '"\\u202E"', "'../../etc/passwd'", "/dev/zero", "'{0.__class__}'", "'{title!r}'",
    '""', "'   '", "[]", "{}", "[[]]", "{a: {b: c}}", "[{}, {}]", "{? {a: b} : c}", "{a: 1, a: 2}", "-1", "1.5",
    "true", "9" * 5000, "x" * 5000, "[" * 2000, "{a: " * 2000, "|\n  text", "\t- x", "%YAML 9.9", "--- x", "a: b: c",
    "*a39", "[*a39, *a39]", "{<<: *a39}",
]  # fmt: skip

PLACES = [
    "mood:", "kind", "sequence_classification", "title", "tone", '"bad"', "metrics", "accuracy", "f1", "train.csv",
    "validation", "columns", "mood.tsv", "decimals", "3", "{tone: mood}", '["b", "g"]', "[title, body]",
]  # fmt: skip


def hostile(seed):
    """A definition with one to three hostile values, for keys or values at random places."""
    draw = random.Random(seed)
    text = TASK
    for place in draw.sample(PLACES, draw.randint(1, 3)):
        value = draw.choice(VALUES)
        text = text.replace(place, value + (":" if place.endswith(":") else ""), 1)
    return (bomb(40) if "*a39" in text else "") + text


def changed(read, written):
    """A word that was read as something else than what is written; `None` if there is none."""
    if isinstance(written, dict):
        if set(map(str, read)) != set(written):
            return f"{list(read)} for {list(written)}"
        return next(filter(None, (changed(value, written[str(key)]) for key, value in read.items())), None)
    if isinstance(written, list):
        return next(filter(None, map(changed, read, written)), None)
    if isinstance(read, bool):
        return None if written.lower() == str(read).lower() else f"{read} for {written}"
    if isinstance(read, (int, float)):
        return None if float(written) == read else f"{read} for {written}"
    return None if read == written else f"{read!r} for {written!r}"


@pytest.mark.parametrize("seed", range(40))
def test_hostile_definitions(folder, seed):
    """Each is refused in one line, in a second, or read exactly as written."""
    (folder / "tasks.yaml").write_text(hostile(seed), encoding="utf-8", errors="surrogatepass")
    started, tasks, refused = time.process_time(), {}, ""
    try:
        tasks = load_tasks(str(folder / "tasks.yaml"))
    except DataError as error:
        refused = str(error)
    assert time.process_time() - started < SECONDS
    assert "\n" not in refused
    assert len(refused) < 1000
    if not refused:
        assert changed(yaml.safe_load(hostile(seed)), yaml.load(hostile(seed), yaml.BaseLoader)) is None
        assert [len(task.train) for task in tasks.values()] == [len(ROWS)]
