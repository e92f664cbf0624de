import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from hf_alphavil.tasks import DataError, hub, load_tasks


def hub_rte(names):
    features = Features({"sentence1": Value("string"), "sentence2": Value("string"), "label": ClassLabel(names=names)})
    rows = Dataset.from_dict({"sentence1": ["a"], "sentence2": ["b"], "label": [0]}, features=features)
    return DatasetDict({"train": rows, "validation": rows, "test": rows})


def test_full_ids_and_revisions(monkeypatch):
    calls = []

    def load_dataset(*args, **kwargs):
        calls.append((args, kwargs))
        return hub_rte(["entailment", "not_entailment"])

    monkeypatch.setattr(hub, "load_dataset", load_dataset)
    load_tasks("rte", revision="abc", cache_dir="folder", token="secret")
    load_tasks("rte", revision={"nyu-mll/glue": "def", "aps/super_glue": "ghi"})
    assert calls[0] == (("nyu-mll/glue", "rte"), {"revision": "abc", "cache_dir": "folder", "token": "secret"})
    assert calls[1][1]["revision"] == "def"


def test_labels_in_another_order_are_refused(monkeypatch):
    monkeypatch.setattr(hub, "load_dataset", lambda *args, **kwargs: hub_rte(["not_entailment", "entailment"]))
    with pytest.raises(DataError, match="labels are not_entailment, entailment, not entailment, not_entailment"):
        load_tasks("rte")


def test_no_network(monkeypatch):
    def load_dataset(*args, **kwargs):
        raise ConnectionError("Couldn't reach the Hub")

    monkeypatch.setattr(hub, "load_dataset", load_dataset)
    with pytest.raises(DataError, match=r"aps/super_glue .cb.: cannot be loaded .*pass the folder .* as data_dir"):
        load_tasks("cb")
