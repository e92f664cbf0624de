"""
Valid definitions of own tasks are read as they are written, and a single slip in one is refused.

A seed draws a task of any kind, its rows and a file of them in any format, and what the task must hold. The YAML is
written in any style: blocks or flow, quotes, comments, anchors.
"""

import csv
import json
import random

import pyarrow
import pyarrow.parquet
import pytest
import yaml

from hf_alphavil.tasks import DataError, load_tasks
from hf_alphavil.tasks.definition_checks import KEYS, PARTS, packaged_keys

TEXTS = (
    "a cat",
    "Ünïcode – 猫",
    "it's: #7, {not} a [list]",
    "no",
    "012",
    "2024-01-01",
    "~",
    "x" * 200,
    "'quoted'",
    "-",
)
NAMES = ("good", "bad", "no", "on", "1:30", "été", "B-PER", "a b", "null", "true")
KINDS = (
    "sequence_classification",
    "sequence_classification",
    "regression",
    "multiple_choice",
    "token_classification",
    "masked_lm",
)
FORMATS = ("csv", "tsv", "json", "jsonl", "parquet")
ROWS = 6
#: Keys that need the Hub or another task; `tests/tasks/test_hub.py` and `test_own_tasks.py` have tests of them.
ELSEWHERE = {"hub", "head_task", "evaluated_with"}


class Drawn:
    """
    A valid task.

    Attributes:
        definition: The content of its entry in the YAML file.
        files: Rows by file name, in the file's columns and values.
        expected: By split, the rows that the task must have.
        labels: The labels that the task must have.
    """

    def __init__(self, seed):
        self.draw = draw = random.Random(seed)
        self.kind = KINDS[seed % len(KINDS)]
        self.form = "txt" if self.kind == "masked_lm" and draw.random() < 0.3 else draw.choice(FORMATS)
        self.nested = self.form in ("json", "jsonl", "parquet")
        self.labels = None
        self.definition = {"kind": self.kind}
        self.columns = {}  # the file's column by ours
        splits = ["train", *(split for split in ("validation", "test") if draw.random() < 0.6)]
        ours, write_label = getattr(self, f"draw_{self.kind}")()
        self.label_column = draw.choice(["label", "label", "tone"]) if self.kind != "masked_lm" else "label"
        if self.label_column != "label":
            self.definition["label_column"] = self.label_column
        group = draw.random() < 0.3 and self.kind != "masked_lm"
        if group:
            self.definition["group_column"] = "passage"
        self.rename([*ours, *(["passage"] if group else []), *(["label"] if self.kind != "masked_lm" else [])])
        self.files, self.expected = {}, {}
        for split in splits:
            truth = [{name: make(number) for name, make in ours.items()} for number in range(ROWS)]
            for row in truth:
                if group:
                    row["passage"] = draw.choice(TEXTS)
            written = [{self.place(name): value for name, value in row.items()} for row in truth]
            for number, (row, line) in enumerate(zip(truth, written, strict=True)):
                row["idx"] = number
                if self.kind == "masked_lm":
                    continue
                value, label = write_label(number, row)
                line[self.place("label")] = value
                if split != "test":
                    row[self.label_column] = label
                elif self.kind not in ("token_classification",) and not self.is_multi_label:
                    row[self.label_column] = -1
            self.expected[split] = truth
            self.files[f"{split}.{self.form}"] = [unflattened(line) for line in written]
        files = {"splits": {split: f"{split}.{self.form}" for split in splits}}
        if self.columns:
            files["columns"] = {
                (self.label_column if ours == "label" else ours): t for ours, t in self.columns.items()
            }
            if self.columns.get("label") == self.label_column:
                del files["columns"][self.label_column]
        files |= self.of_files or {}
        if draw.random() < 0.3:
            files["format"] = "text" if self.form == "txt" else self.form
        if self.form in ("csv", "tsv") and draw.random() < 0.3:
            files["headers"] = {split: list(self.files[f"{split}.{self.form}"][0]) for split in splits}
        self.headless = "headers" in files
        self.definition["files"] = {key: value for key, value in files.items() if value != {}}
        if "validation" not in splits and draw.random() < 0.3:
            self.definition["validation_fraction"] = 0.5
        self.settings(draw)

    is_multi_label = False
    of_files = None

    def draw_sequence_classification(self):
        draw, number = self.draw, self.draw.randint(2, 4)
        names = draw.sample(NAMES, number)
        makes = self.texts(draw.choice([("text",), ("title", "body")]))
        if draw.random() < 0.5:
            self.definition["problem_type"] = "multi_label_classification"
            self.is_multi_label, self.labels = True, names
            self.definition["labels"] = names
            separator = draw.choice([",", ";", "|"])

            def several(row_number, row):
                ids = sorted(draw.sample(range(number), draw.randint(0, number)))
                listed = [names[one] for one in ids]
                return (listed if self.nested else separator.join(listed)), ids

            self.of_files = {} if separator == "," or self.nested else {"label_separator": separator}
            return makes, several
        return makes, self.one_label(names)

    def one_label(self, names):
        """A label as a name, as an id, as the file's own word, or inferred from the names."""
        way = self.draw.choice(["name", "id", "own", "inferred"])
        if way == "inferred":
            self.labels = sorted(names)
        else:
            self.labels = self.definition["labels"] = names
        if way == "own":
            self.of_files = {"labels": [f"w{place}" for place in range(len(names))]}

        def write(row_number, row):
            label = row_number % len(self.labels)
            if way == "id":
                return (label if self.nested else str(label)), label
            return f"w{label}" if way == "own" else self.labels[label], label

        return write

    def draw_regression(self):
        draw = self.draw
        if draw.random() < 0.5:
            self.definition["score_range"] = [0, 5]

        def write(row_number, row):
            score = draw.choice([0, 1, 2.5, 5, 3.25])
            return (float(score) if self.nested else str(score)), float(score)

        return self.texts(("text",)), write

    def draw_multiple_choice(self):
        draw = self.draw
        self.definition["context_template"] = "{fact} – which?"
        makes = {"fact": lambda number: draw.choice(TEXTS)}
        if self.nested and draw.random() < 0.5:
            self.definition["choices_column"] = "options"
            self.sizes = [2 + (number % 2) for number in range(ROWS)]
            makes["options"] = lambda number: [draw.choice(TEXTS) for _ in range(self.sizes[number])]
            self.labels = ["0", "1", "2"]

            def write(row_number, row):
                label = row_number % len(row["options"])
                return label, label

            return makes, write
        columns = ["a", "b", "c"][: draw.randint(2, 3)]
        self.definition["choice_columns"] = columns
        self.labels = columns
        makes |= {name: lambda number: draw.choice(TEXTS) for name in columns}
        by_name = draw.random() < 0.5

        def write(row_number, row):
            label = row_number % len(columns)
            return columns[label] if by_name else (label if self.nested else str(label)), label

        return makes, write

    def draw_token_classification(self):
        draw, names = self.draw, ["O", "B-X", "I-X"]
        self.labels = self.definition["labels"] = names
        self.definition["text_columns"] = ["words"]

        def words(number):
            chosen = [draw.choice(("cat", "猫", "no", "012")) for _ in range(draw.randint(1, 4))]
            return chosen if self.nested else " ".join(chosen)

        def write(row_number, row):
            count = len(row["words"] if self.nested else row["words"].split())
            ids = [draw.randrange(3) for _ in range(count)]
            tags = [names[one] for one in ids]
            return (tags if self.nested else " ".join(tags)), ids

        return {"words": words}, write

    def draw_masked_lm(self):
        self.definition["text_columns"] = ["text"]
        if self.draw.random() < 0.5:
            self.definition["mlm_probability"] = 0.25
        return {"text": lambda number: self.draw.choice(TEXTS)}, None

    def texts(self, names):
        """Columns of texts, or templates of them."""
        draw = self.draw
        if draw.random() < 0.7:
            self.definition["text_columns"] = list(names)
            return {name: lambda number: draw.choice(TEXTS) for name in names}
        self.definition["text_templates"] = [f"{{{name}}}: {{{{x}}}} {{tag}}" for name in names]
        self.definition["value_maps"] = {"tag": {"yes": "it is", "no": "it is: not"}}
        makes = {name: lambda number: draw.choice(TEXTS) for name in names}
        return makes | {"tag": lambda number: draw.choice(["yes", "no"])}

    def rename(self, names):
        """Other names of some columns in the file, with dots into nested ones."""
        if self.form == "txt":
            return
        for number, name in enumerate(names):
            if self.draw.random() < 0.3:
                self.columns[name] = (
                    f"in.side.c{number}" if self.nested and self.draw.random() < 0.5 else f"c {number}"
                )

    def place(self, name):
        return self.columns.get(name, self.label_column if name == "label" else name)

    def settings(self, draw):
        definition = self.definition
        metrics = {
            "sequence_classification": ["f1_macro", "accuracy"], "regression": ["pearson", "mean_squared_error"],
            "multiple_choice": ["accuracy", "f1"], "token_classification": ["span_f1", "accuracy"],
            "masked_lm": ["accuracy"],
        }[self.kind]  # fmt: skip
        if draw.random() < 0.5:
            definition["metrics"], definition["main_metric"] = metrics, metrics[0]
            if draw.random() < 0.5:
                definition["greater_is_better"] = True
        if draw.random() < 0.4 and self.kind != "masked_lm":
            listed = self.kind == "token_classification" or self.is_multi_label
            form = definition["submission"] = {"file_name": "own file.jsonl" if listed else "own.tsv"}
            if self.labels is not None and "choices_column" not in definition:
                form["labels"] = [f"out {number}" for number in range(len(self.labels))]
            form |= {"decimals": 2} if self.kind == "regression" else {}
            form |= {"test_rows": ROWS} if draw.random() < 0.5 else {}
        if draw.random() < 0.3:
            definition["name"] = "Its Name"
        if draw.random() < 0.3:
            definition["sizes"] = {"train": ROWS}
        if draw.random() < 0.3:
            definition["license"] = "cc0-1.0"

    def write(self, folder):
        """Writes the rows and `tasks.yaml`."""
        for name, rows in self.files.items():
            write_file(folder / name, rows, self.headless)
        (folder / "tasks.yaml").write_text(self.yaml(), encoding="utf-8")

    def yaml(self, definition=None):
        """The file's text, in a style of the seed."""
        draw = random.Random(len(str(self.definition)))
        options = {"allow_unicode": draw.random() < 0.7, "sort_keys": draw.random() < 0.5, "width": 60}
        options |= {"default_flow_style": draw.choice([None, False, True])}
        text = yaml.safe_dump({"own": self.definition if definition is None else definition}, **options)
        return "# a comment\n" + text + "\n# the end: {not} a [list]\n"


def unflattened(line):
    """`{"in.side.c": 1}` as `{"in": {"side": {"c": 1}}}`."""
    row = {}
    for name, value in line.items():
        *parents, last = name.split(".")
        place = row
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return row


def write_file(file, rows, headless):
    form = file.suffix[1:]
    if form == "csv":
        with file.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), quoting=csv.QUOTE_ALL)
            if not headless:
                writer.writeheader()
            writer.writerows(rows)
    elif form == "tsv":
        lines = ["\t".join(row.values()) for row in rows]
        file.write_text("\n".join(lines if headless else ["\t".join(rows[0]), *lines]), encoding="utf-8")
    elif form == "jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif form == "json":
        file.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    elif form == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    else:
        file.write_text("".join(row["text"] + "\n" for row in rows), encoding="utf-8")


def load(folder):
    return load_tasks(str(folder / "tasks.yaml"))


def content(task):
    """What a task holds: its settings and its rows."""
    rows = {split: getattr(task, split) for split in ("train", "validation", "test")}
    return task.spec, {split: dataset.to_list() for split, dataset in rows.items() if dataset is not None}


def check_valid(seed, folder):
    drawn = Drawn(seed)
    drawn.write(folder)
    assert yaml.safe_load(drawn.yaml()) == {"own": drawn.definition}  # the YAML is what was drawn
    (task,) = load(folder).values()
    definition = drawn.definition
    assert (task.name, task.kind, task.label_column) == ("own", drawn.kind, drawn.label_column)
    assert task.labels == (None if drawn.labels is None else tuple(drawn.labels))
    for name in ("text_columns", "text_templates", "choice_columns", "metrics", "score_range"):
        if name in definition:
            assert getattr(task, name) == tuple(definition[name])
    for name in (
        "main_metric", "greater_is_better", "group_column", "problem_type", "value_maps", "context_template",
        "choices_column", "mlm_probability", "license",
    ):  # fmt: skip
        if name in definition:
            assert getattr(task, name) == definition[name]
    form = definition.get("submission", {})
    assert not form or task.submission.file_name == form["file_name"]
    assert list(getattr(task.submission, "labels", None) or []) == form.get("labels", [])
    _, rows = content(task)
    if "validation_fraction" in definition:
        both = sorted([*rows.pop("validation"), *rows.pop("train")], key=lambda row: row["idx"])
        assert both == drawn.expected["train"]
        drawn.expected.pop("train")
    assert rows == drawn.expected
    return drawn


@pytest.mark.parametrize("part", range(4))
def test_valid_definitions(tmp_path, part):
    for seed in range(15 * part, 15 * part + 15):
        folder = tmp_path / str(seed)
        folder.mkdir()
        check_valid(seed, folder)


def test_every_key_is_drawn():
    drawn = [Drawn(seed).definition for seed in range(60)]
    given = {key for definition in drawn for key in definition}
    assert given >= set(KEYS) - set(packaged_keys()) - ELSEWHERE
    for part in ("files", "submission"):
        wanted = {key for key in PARTS[part] if f"{part}.{key}" not in packaged_keys()}
        assert {key for definition in drawn for key in definition.get(part, {})} >= wanted


# ---- Single slips

OTHERS = (7, "word", True, None, [], ["x"], {"x": 1}, 0.5)


def places(value, path=()):
    """The paths of all keys of nested mappings."""
    for key, child in value.items() if isinstance(value, dict) else ():
        yield (*path, key)
        yield from places(child, (*path, key))


def changed(definition, path, change):
    """A copy of the definition; `change` gets the mapping that holds the last key of the path."""
    copied = json.loads(json.dumps(definition))
    place = copied
    for key in path[:-1]:
        place = place[key]
    change(place, path[-1])
    return copied


def slips(drawn):
    """Definitions with one slip, and whether they must be refused."""
    draw, definition = drawn.draw, drawn.definition

    def misspell(mapping, key):
        mapping[key + "x"] = mapping.pop(key)

    def other_type(mapping, key):
        others = [value for value in OTHERS if type(value) is not type(mapping[key])]
        mapping[key] = draw.choice([value for value in others if {type(value), type(mapping[key])} != {int, float}])

    def without(mapping, key):
        del mapping[key]

    free = {("sizes", "train")}  # names of one's own
    for path in places(definition):
        if path not in free:
            yield path, changed(definition, path, misspell), True
        yield path, changed(definition, path, other_type), True
        if path[-1] in ("kind", "files", "splits", "file_name", "text_columns", "text_templates"):
            yield path, changed(definition, path, without), True
    if "labels" in definition:
        yield ("labels",), changed(definition, ("labels",), lambda mapping, key: mapping[key].pop()), False


def check_slips(seed, folder):
    drawn = Drawn(seed)
    drawn.write(folder)
    (task,) = load(folder).values()
    before, faults = content(task), []
    for path, definition, must_be_refused in slips(drawn):
        (folder / "tasks.yaml").write_text(drawn.yaml(definition), encoding="utf-8")
        try:
            (task,) = load(folder).values()
        except DataError as error:
            message = str(error)
            is_clear = "\n" not in message and len(message) < 1000 and str(folder) in message
            if not is_clear:
                faults.append(f"{path}: {message}")
            continue
        if must_be_refused and content(task) != before:
            faults.append(f"{path} in {definition} changes the task silently")
    return faults


@pytest.mark.parametrize("seed", range(10))
def test_a_slip_is_refused(tmp_path, seed):
    assert check_slips(seed, tmp_path) == []


@pytest.mark.parametrize("seed", range(6))
def test_a_key_that_occurs_twice(tmp_path, seed):
    drawn = Drawn(seed)
    drawn.write(tmp_path)
    text = yaml.safe_dump({"own": drawn.definition}, default_flow_style=False, allow_unicode=True)
    lines = text.splitlines()
    keys = [number for number, line in enumerate(lines) if line.startswith("  ") and line.rstrip().endswith(":")]
    keys += [number for number, line in enumerate(lines) if line.startswith("  kind: ")]
    for number in keys:
        indent = len(lines[number]) - len(lines[number].lstrip())
        key = lines[number].strip().partition(":")[0]
        (tmp_path / "tasks.yaml").write_text(
            "\n".join([*lines[:number], f"{' ' * indent}{key}: again", *lines[number:]]), encoding="utf-8"
        )
        with pytest.raises(DataError, match=f"line {number + 2}: the key '{key}' occurs twice"):
            load(tmp_path)


@pytest.mark.slow
def test_many_definitions(tmp_path):
    faults = []
    for seed in range(60, 130):
        folder = tmp_path / str(seed)
        folder.mkdir()
        check_valid(seed, folder)
        if seed % 3 == 0:
            faults += check_slips(seed, folder)
    assert not faults, "\n".join(faults)
