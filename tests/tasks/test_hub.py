"""Rows from the Hub: the splits, columns and labels of a dataset, and errors when it cannot be loaded."""

import json

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value

from hf_alphavil.tasks import DataError, load_tasks
from support.official_miniatures import miniature_lines


def hub_rte(names):
    features = Features({"sentence1": Value("string"), "sentence2": Value("string"), "label": ClassLabel(names=names)})
    rows = Dataset.from_dict({"sentence1": ["a"], "sentence2": ["b"], "label": [0]}, features=features)
    return DatasetDict({"train": rows, "validation": rows, "test": rows})


def test_full_ids_and_revisions(monkeypatch):
    calls = []

    def load_dataset(*args, **kwargs):
        calls.append((args, kwargs))
        return hub_rte(["entailment", "not_entailment"])

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    load_tasks("rte", revision="abc", cache_dir="folder", token="secret")
    load_tasks("rte", revision={"nyu-mll/glue": "def", "aps/super_glue": "ghi"})
    assert calls[0] == (("nyu-mll/glue", "rte"), {"revision": "abc", "cache_dir": "folder", "token": "secret"})
    assert calls[1][1]["revision"] == "def"


def test_labels_in_another_order_are_refused(monkeypatch):
    monkeypatch.setattr("datasets.load_dataset", lambda *args, **kwargs: hub_rte(["not_entailment", "entailment"]))
    with pytest.raises(DataError, match="labels are not_entailment, entailment, not entailment, not_entailment"):
        load_tasks("rte")


def test_without_a_network(monkeypatch):
    def load_dataset(*args, **kwargs):
        raise ConnectionError("Couldn't reach the Hub")

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    with pytest.raises(
        DataError,
        match=r"aps/super_glue .cb.: cannot be loaded .* not in the cache .*pass the folder .* as data_dir",
    ):
        load_tasks("cb")


HUB_FORMS = {
    # The Hub's columns, flat, of what the official files of tests/tasks/official_miniatures.py say.
    "wic": lambda row: {name: value for name, value in row.items() if name not in ("version", "label", "idx")},
    "wsc": lambda row: {"text": row["text"], **row["target"]},
    "boolq": lambda row: {name: row[name] for name in ("question", "passage")},
    "axb": lambda row: {name: row[name] for name in ("sentence1", "sentence2")},
    "axg": lambda row: {name: row[name] for name in ("premise", "hypothesis")},
}
HUB_LABELS = {"axb": ["entailment", "not_entailment"], "axg": ["entailment", "not_entailment"]}


def hub_rows(name, split):
    """A miniature file's rows as the Hub has them."""
    rows = []
    for number, line in enumerate(miniature_lines(name, split)):
        row = json.loads(line)
        if name == "multirc":
            for question in row["passage"]["questions"]:
                for answer in question["answers"]:
                    idx = {"paragraph": row["idx"], "question": question["idx"], "answer": answer["idx"]}
                    texts = {"paragraph": row["passage"]["text"], "question": question["question"]}
                    rows.append({**texts, "answer": answer["text"], "idx": idx, "label": answer.get("label", -1)})
        elif name == "record":
            for query in row["qas"]:
                rows.append(
                    {
                        "passage": row["passage"]["text"],
                        "query": query["query"],
                        "entities": ["Mary", "Anna", "Paul"],
                        "answers": ["Anna"] if "answers" in query else [],
                        "idx": {"passage": row["idx"], "query": query["idx"]},
                    }
                )
        else:
            labels = HUB_LABELS.get(name, [False, True])
            label = labels.index(row["label"]) if "label" in row else -1
            rows.append({**HUB_FORMS[name](row), "idx": number, "label": label})
    return rows


@pytest.mark.parametrize("name", [*HUB_FORMS, "multirc", "record"])
def test_hub_rows_equal_the_rows_of_files(miniature, monkeypatch, name):
    files = load_tasks(name, data_dir=miniature(name))[name]
    splits = ("test",) if name in HUB_LABELS else ("train", "validation", "test")
    loaded = DatasetDict({split: Dataset.from_list(hub_rows(name, split)) for split in splits})
    names = HUB_LABELS.get(name, ["False", "True"])
    for split in splits if name != "record" else ():
        loaded[split] = loaded[split].cast_column("label", ClassLabel(names=names))
    monkeypatch.setattr("datasets.load_dataset", lambda *args, **kwargs: loaded)
    online = load_tasks(name)[name]
    assert online.spec == files.spec
    assert (online.dataset, online.dataset_config, online.license) == ("aps/super_glue", name, "other")
    for split in ("train", "validation", "test"):
        one, other = getattr(online, split), getattr(files, split)
        assert (one is None) == (other is None)
        if one is not None:
            wanted = {*files.input_columns, *files.score_columns, "label", "idx"}
            assert one.select_columns(sorted(wanted)).to_list() == other.select_columns(sorted(wanted)).to_list()
    assert set(online.test["label"]) == {-1}


@pytest.mark.parametrize(
    "files", [{"train.zip": "PK"}, {"README.md": "---\na: [\n---\n", "train.csv": "text,label\na,1\n"}]
)
def test_any_error_of_load_dataset_is_a_data_error(tmp_path, files):
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_text(content)
    path = tmp_path / "own.yaml"
    path.write_text(f"own: {{kind: regression, text_columns: [text], hub: {{path: {folder}}}}}")
    with pytest.raises(DataError, match=r"folder: cannot be loaded from the Hub: .*(zip file|parsing)"):
        load_tasks(str(path))


def test_columns_that_are_not_read_are_not_decoded(monkeypatch, tmp_path):
    rows = {"text": ["a"], "label": [1.0], "picture": [{"bytes": b"no picture", "path": None}]}
    rows = Dataset.from_dict(rows, Features({"text": Value("string"), "label": Value("float32"), "picture": Image()}))
    monkeypatch.setattr("datasets.load_dataset", lambda *args, **kwargs: DatasetDict({"train": rows}))
    path = tmp_path / "own.yaml"
    path.write_text("own: {kind: regression, text_columns: [text], hub: {path: owner/rows}}")
    assert load_tasks(str(path))["own"].train["text"][:] == ["a"]
