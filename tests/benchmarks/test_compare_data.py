"""The split that all methods share, and the id of a run."""

from dataclasses import replace

import pytest
from datasets import Dataset
from transformers import AutoTokenizer

from hf_alphavil import MultitaskModel, MultitaskTrainer, MultitaskTrainingArguments, Task
from hf_alphavil.comparing.comparison import Data, Run
from hf_alphavil.comparing.data import data_digest, encoder_digest, load_data, run_id, split_target, tasks_of_run
from hf_alphavil.demo.suite import demo_encoder

DATA = Data(tasks=["target", "noise"], suite="demo", selection_fraction=0.2, meta_fraction=0.25)


def grouped_task():
    """Ninety rows of thirty passages. One row in three has the other class."""
    rows = {"text": [f"row {i}" for i in range(90)], "passage": [f"passage {i % 30}" for i in range(90)]}
    rows |= {"label": [int(i % 30 < 10) for i in range(90)]}
    return Task(
        "grouped", "sequence_classification", ("text",), labels=("no", "yes"), group_column="passage",
        train=Dataset.from_dict(rows), validation=Dataset.from_dict(rows),
    )  # fmt: skip


def test_each_row_is_in_one_part():
    task = load_data(DATA)["target"]
    split = split_target(task, DATA)
    assert sorted(split.rest + split.meta + split.selection) == list(range(160))
    assert (len(split.selection), len(split.meta), len(split.rest)) == (32, 32, 96)
    for rows in (split.rest, split.meta, split.selection):
        assert sum(task.train[rows]["label"]) == len(rows) / 2


def test_passages_are_in_one_part():
    task = grouped_task()
    split = split_target(task, DATA)
    parts = [set(task.train[rows]["passage"]) for rows in (split.rest, split.meta, split.selection)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 30


def test_only_the_data_seed_decides():
    task = load_data(DATA)["target"]
    assert split_target(task, DATA) == split_target(task, DATA)
    assert split_target(task, DATA) != split_target(task, replace(DATA, data_seed=1))


def test_a_target_that_is_too_small():
    data = replace(DATA, max_train_samples=20)
    with pytest.raises(ValueError, match="'target' is too small for selection_fraction"):
        split_target(load_data(data)["target"], data)


def test_only_a_target_needs_validation_rows():
    loaded = load_data(DATA)
    one = replace(loaded["noise"], validation=None)
    with pytest.raises(ValueError, match="the target 'noise' has no validation rows, which give the reported score"):
        split_target(one, DATA)
    assert data_digest({"noise": one}) != data_digest({"noise": loaded["noise"]})


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder")
    demo_encoder(folder)
    return folder


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("grouped", [False, True])
def test_the_trainer_holds_out_the_same_meta_rows(seed, grouped, encoder, tmp_path):
    loaded = load_data(DATA)
    if grouped:
        loaded["target"] = replace(grouped_task(), name="target")
    texts = loaded["target"].train["text"][:]
    split = split_target(loaded["target"], DATA)
    of_trainer = {}
    for method, holds_out in (("alphavil", True), ("multitask", False)):
        tasks = tasks_of_run(loaded, "target", split)
        args = MultitaskTrainingArguments(
            output_dir=str(tmp_path), target_task="target", method=method, seed=seed, data_seed=DATA.data_seed,
            alpha_holdout_fraction=DATA.meta_fraction, report_to=[], max_length=8,
        )  # fmt: skip
        trainer = MultitaskTrainer(
            model=MultitaskModel.from_encoder(encoder, tasks=tasks),
            args=args,
            tasks=tasks,
            processing_class=AutoTokenizer.from_pretrained(encoder),
        )
        rows = tasks["target"].train["text"][:]
        given = trainer.train_datasets["target"].dataset
        of_trainer[method] = [rows[i] for i in given.indices] if holds_out else rows
        if holds_out:
            assert [rows[i] for i in trainer.meta_set.dataset.indices] == [texts[i] for i in split.meta]
        else:
            assert trainer.meta_set is None
            assert len(given) == len(split.rest) + len(split.meta)
        assert tasks["target"].validation["text"][:] == [texts[i] for i in split.selection]
        assert tasks["target"].test.to_dict() == loaded["target"].validation.to_dict()
        assert tasks["noise"].validation is None
    assert of_trainer["alphavil"] == [texts[i] for i in split.rest]
    assert of_trainer["multitask"] == [texts[i] for i in split.rest_and_meta]


def test_the_id_of_a_run(encoder, tmp_path):
    run = Run("multitask", "multitask", "target", 3, {"learning_rate": 1e-4}, DATA)
    rows = data_digest(load_data(DATA))
    name = run_id(run, rows, "encoder")
    assert name.startswith("target-multitask-s3-")
    assert name == run_id(replace(run, data=replace(DATA, data_dir="elsewhere")), rows, "encoder")
    assert run_id(replace(run, without="noise"), rows, "encoder").startswith("target-multitask-without-noise-s3-")
    others = [
        (replace(run, without="noise"), rows, "encoder"),
        (replace(run, without="helpful"), rows, "encoder"),
        (replace(run, settings={"learning_rate": 2e-4}), rows, "encoder"),
        (replace(run, data=replace(DATA, meta_fraction=0.3)), rows, "encoder"),
        (run, data_digest(load_data(replace(DATA, max_train_samples=150))), "encoder"),
        (run, rows, "other encoder"),
    ]
    assert len({name, *(run_id(*other) for other in others)}) == 7

    demo_encoder(tmp_path / "same")
    demo_encoder(tmp_path / "other", seed=1)
    assert encoder_digest(str(encoder)) == encoder_digest(str(tmp_path / "same"))
    assert encoder_digest(str(encoder)) != encoder_digest(str(tmp_path / "other"))
    assert encoder_digest("roberta-base") != encoder_digest("roberta-large")
