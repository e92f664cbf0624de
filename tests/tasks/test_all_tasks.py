"""`--auxiliary all`: which tasks it takes, which it leaves out, and what it says."""

import pytest

from hf_alphavil.tasks import DataError, load_tasks
from hf_alphavil.tasks.all_tasks import find_auxiliaries
from hf_alphavil.tasks.registry import own_definitions
from support.official_miniatures import FOLDERS

OWN = """
mood: {kind: sequence_classification, text_columns: [body], label_column: mood, files: {splits: {train: a.csv}}}
again: {kind: sequence_classification, text_columns: [body], label_column: mood, files: {splits: {train: ./a.csv}}}
length: {kind: regression, text_columns: [body], label_column: length, files: {splits: {train: a.csv}}}
prose: {kind: masked_lm, text_columns: [body], label_column: mood, files: {splits: {train: a.csv}}}
reviews: {kind: regression, text_columns: [body], hub: {path: me/reviews}}
reviews2: {kind: regression, text_columns: [body], hub: {path: me/reviews, splits: {train: train}}}
stars: {kind: regression, text_columns: [body], hub: {path: me/reviews, columns: {label: stars}}}
scored: {kind: regression, text_columns: [body], hub: {path: me/reviews, splits: {test: test}}}
unseen: {kind: sequence_classification, text_columns: [a, b], labels: [x, y], head_task: rte, hub: {path: me/nli}}
"""


@pytest.fixture
def own(define):
    return own_definitions(define(OWN))


@pytest.fixture
def data_dir(miniature):
    for task in ("cb", "rte", "superglue_rte", "mrpc"):
        folder = miniature(task)
    (folder / FOLDERS["mrpc"] / "dev.tsv").unlink()
    return folder


def test_all_takes_what_can_be_trained_and_says_what_it_leaves_out(own, data_dir):
    found = find_auxiliaries(["RTE", "mood"], own, data_dir)
    assert found.taken == ["cb", "length", "prose", "reviews", "stars"]
    absent = found.left_out.pop("not in --data_dir")
    assert {"boolq", "copa", "stsb"} <= set(absent)
    assert found.left_out == {
        "only evaluated": ["ax", "axb", "axg", "mnli_mismatched", "unseen"],
        f"{data_dir / FOLDERS['mrpc']}: no file dev.tsv; looked for train.tsv, dev.tsv, test.tsv.": ["mrpc"],
        "the rows of rte": ["superglue_rte"],
        "the rows of mood": ["again"],
        "the rows of reviews": ["reviews2"],
        "no training rows": ["scored"],
    }
    assert set(load_tasks(["rte", "cb"], data_dir=data_dir)) == {"rte", "cb"}
    lines = found.describe().splitlines()
    assert lines[0] == "all: 5 tasks: cb, length, prose, reviews, stars"
    assert "  left out: superglue_rte (the rows of rte)" in lines


def test_the_target_decides_which_of_two_names_is_taken(own, data_dir):
    assert "rte" not in find_auxiliaries(["superglue_rte"], {}, data_dir).taken
    assert "mood" not in find_auxiliaries(["again"], own).taken


def test_without_a_folder_only_the_users_tasks_are_taken(own):
    assert find_auxiliaries(["rte"], own).taken == ["mood", "length", "prose", "reviews", "stars"]


def test_nowhere_to_look_and_nothing_found(own, data_dir):
    with pytest.raises(ValueError, match=r"`all` takes the tasks in --data_dir .* pass one"):
        find_auxiliaries(["rte"], {})
    with pytest.raises(ValueError, match=r"found no task to train: again .the rows of mood.: pass"):
        find_auxiliaries(["mood"], {name: own[name] for name in ("again", "mood")})
    with pytest.raises(DataError, match="no such folder"):
        find_auxiliaries(["rte"], own, data_dir / "absent")
