"""Rows that are prepared for ordinary heads: marked words, candidates, ids of groups."""

import json
import re

import pytest

from hf_alphavil.tasks import DataError, load_tasks
from hf_alphavil.tasks.prepare import PREPARE
from support.official_miniatures import FOLDERS


def words(text):
    return re.findall(r"\w+", text.casefold())


def test_wsc_by_hand(miniature):
    task = load_tasks("wsc", data_dir=miniature("wsc"))["wsc"]
    assert task.train["marked_text"][:] == [
        "_The cat_ saw the dog, and [it] ran.",
        "The cat saw _the dog_, and [it] ran.",
        "_Mary_ met Über-Anna because [she] slept.",
    ]


def test_wsc_takes_the_nearest_occurrence():
    def marked(text, span1, index1, span2, index2):
        row = {"text": text, "span1_text": span1, "span1_index": index1, "span2_text": span2, "span2_index": index2}
        (made,) = PREPARE["wsc"](row)
        return made["marked_text"]

    assert marked("He saw Al; he ran.", "Al", 2, "he", 3) == "He saw _Al_; [he] ran."
    assert marked("He saw Al; he ran.", "Al", 2, "he", 0) == "[He] saw _Al_; he ran."
    assert marked("A b, then b", "B", 1, "b", 3) == "A _b_, then [b]"
    assert marked("Al, and their mothers", "their mothers", 2, "their", 2) == "Al, and _[their] mothers_"
    with pytest.raises(ValueError, match="'cat' is not in the text"):
        marked("He saw Al", "cat", 0, "He", 0)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_every_real_row_of_wsc(real_data, split):
    """Without its marks the marked text is the text, and the marked parts are the spans."""
    task = load_tasks("wsc", data_dir=real_data)["wsc"]
    rows = task.split({"val": "validation"}.get(split, split))
    lines = (real_data / FOLDERS["wsc"] / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(rows) == len(lines)
    apart = 0
    for row, line in zip(rows, lines, strict=True):
        official = json.loads(line)
        marked, text = row["marked_text"], official["text"]
        candidates = [re.sub(r"[\[\]]", "", found) for found in re.findall(r"_([^_]+)_", marked)]
        pronouns = re.findall(r"\[([^\]_]+)\]", marked)
        assert re.sub(r"[_\[\]]", "", marked) == re.sub(r"[_\[\]]", "", text)
        assert words(" ".join(pronouns)) == words(official["target"]["span2_text"])
        if len(candidates) == 1:
            assert words(candidates[0]) == words(official["target"]["span1_text"])
        else:  # "A and B" whose names are apart
            apart += 1
            assert set(words(" ".join(candidates))) <= set(words(official["target"]["span1_text"]))
    assert apart <= len(rows) * 0.02


def test_wic_by_hand(miniature):
    task = load_tasks("wic", data_dir=miniature("wic"))["wic"]
    assert task.train["marked_sentence1"][:] == ['The "cat" sat', 'Dogs "ran".', '"Ü" the']
    assert task.train["marked_sentence2"][:] == ['A "cat"', 'It "runs"', 'über "Ü"']
    with pytest.raises(ValueError, match="start1=3 and end1=9 are not a part of sentence1, which has 5"):
        PREPARE["wic"]({"sentence1": "A cat", "start1": 3, "end1": 9, "sentence2": "", "start2": 0, "end2": 0})


def test_record_by_hand(miniature):
    task = load_tasks("record", data_dir=miniature("record"))["record"]
    assert len(task.train) == 9  # three queries of three candidates, one of which is named twice
    assert task.train["candidate"][:3] == ["Mary", "Anna", "Paul"]
    assert task.train["filled_query"][:3] == ["Then Mary ran", "Then Anna ran", "Then Paul ran"]
    assert task.train["label"][:3] == [0, 1, 0]
    assert len(set(task.train["query_id"])) == 3
    assert set(task.test["label"]) == {-1}


def test_multirc_and_axg_by_hand(miniature):
    multirc = load_tasks("multirc", data_dir=miniature("multirc"))["multirc"]
    ids = multirc.train["question_id"][:]
    assert len(ids) == 4
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3
    assert multirc.train["label"][:] == [0, 1, 0, 1]
    axg = load_tasks("axg", data_dir=miniature("axg"))["axg"]
    assert axg.validation["pair_id"][:] == [0, 0, 1, 1]
    assert axg.validation["label"][:] == [0, 1, 0, 0]
    assert set(axg.test["label"]) == {-1}


def test_mnli_brings_its_mismatched_sets(miniature, caplog):
    data_dir = miniature("mnli")
    alone = load_tasks("mnli", data_dir=data_dir)
    assert list(alone) == ["mnli"]
    assert "mnli_mismatched is not evaluated" in caplog.text
    miniature("mnli_mismatched")
    both = load_tasks("mnli", data_dir=data_dir)
    assert list(both) == ["mnli", "mnli_mismatched"]
    assert both["mnli_mismatched"].head_task == "mnli"
    assert both["mnli_mismatched"].validation["label"][:] == [1, 0, 2]
    assert both["mnli_mismatched"].train is None


def test_the_head_of_a_diagnostic_set(miniature):
    data_dir = miniature("axb")
    for name in ("rte", "superglue_rte"):
        miniature(name)
    assert load_tasks(["superglue_rte", "axb"], data_dir=data_dir)["axb"].head_task == "superglue_rte"
    assert load_tasks(["rte", "axb"], data_dir=data_dir)["axb"].head_task == "rte"
    assert load_tasks("axb", data_dir=data_dir)["axb"].head_task == "rte"
    both = ["superglue_rte", "rte", "axb"]  # the head of the target, which is first
    assert load_tasks(both, data_dir=data_dir)["axb"].head_task == "superglue_rte"


def test_short_rows_of_qqp_are_counted(miniature, caplog):
    lines = [
        "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
        "1\t2\t3\ta\tb\t0",
        "4\t5\t6\tcut",
        "7",
        "1\t2\t3\tc\td\t1",
    ]
    task = load_tasks("qqp", data_dir=miniature("qqp", "train.tsv", lines))["qqp"]
    assert task.train["question1"][:] == ["a", "c"]
    assert "2 rows have fewer than 6 fields and are left out, the first on line 3" in caplog.text
    # In a test set no row is left out: every later prediction would have the wrong index.
    blind = [line.rpartition("\t")[0] if line.count("\t") == 5 else line for line in lines]
    with pytest.raises(DataError, match=r"test.tsv, line 3: expected 5 .* found 4"):
        load_tasks("qqp", data_dir=miniature("qqp", "test.tsv", blind))
    with pytest.raises(DataError, match=r"expected 6 .* found 7"):
        load_tasks("qqp", data_dir=miniature("qqp", "train.tsv", [*lines, "1\t2\t3\ta\tb\t0\textra"]))
