"""Metrics of every kind against hand-worked values, and on random inputs against scikit-learn, scipy and seqeval."""

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import pearsonr, spearmanr
from seqeval.metrics import f1_score as seqeval_f1
from sklearn import metrics as sk
from transformers import EvalPrediction

from hf_alphavil.kinds import KINDS, find_kind
from hf_alphavil.tasks import Task
from hf_alphavil.tasks.metrics import METRICS, compute_scores
from hf_alphavil.tasks.metrics.spans import spans_of

MANY = settings(max_examples=20, deadline=None, derandomize=True)


def one_hot(ids, labels):
    return np.eye(labels)[np.asarray(ids)]


# ---- One label of several


@MANY
@given(
    st.integers(2, 5).flatmap(
        lambda n: st.tuples(st.just(n), st.lists(st.tuples(*[st.integers(0, n - 1)] * 2), min_size=1, max_size=30))
    )
)
def test_classification_metrics_equal_scikit_learn(case):
    labels, pairs = case
    predicted, references = map(list, zip(*pairs, strict=True))
    names = ("accuracy", "f1", "f1_macro", "f1_micro", "f1_weighted", "matthews_correlation")
    scores = compute_scores(
        names,
        find_kind("sequence_classification"),
        one_hot(predicted, labels),
        references,
        [str(n) for n in range(labels)],
    )
    assert scores["accuracy"] == pytest.approx(sk.accuracy_score(references, predicted))
    for average in ("macro", "micro", "weighted"):
        assert scores[f"f1_{average}"] == pytest.approx(sk.f1_score(references, predicted, average=average))
    f1 = sk.f1_score(references, predicted, average="binary" if labels == 2 else "macro", zero_division=0)
    assert scores["f1"] == pytest.approx(f1)
    assert scores["matthews_correlation"] == pytest.approx(sk.matthews_corrcoef(references, predicted))
    assert scores["combined_score"] == pytest.approx(np.mean([scores[name] for name in names]))


# ---- Regression


@MANY
@given(
    hnp.arrays(np.float64, st.tuples(st.integers(3, 20), st.just(2)), elements=st.floats(-5, 5, width=16), unique=True)
)
def test_regression_metrics_equal_scipy_and_scikit_learn(pairs):
    predicted, references = pairs.T
    names = ("pearson", "spearmanr", "mean_squared_error", "mean_absolute_error")
    scores = compute_scores(names, find_kind("regression"), predicted[:, None], references)
    assert scores["pearson"] == pytest.approx(pearsonr(predicted, references)[0], abs=1e-9)
    assert scores["spearmanr"] == pytest.approx(spearmanr(predicted, references)[0], abs=1e-9)
    assert scores["mean_squared_error"] == pytest.approx(sk.mean_squared_error(references, predicted))
    assert scores["mean_absolute_error"] == pytest.approx(sk.mean_absolute_error(references, predicted))
    assert "combined_score" not in scores  # more is better in some, worse in others


def test_direction_of_the_main_metric():
    task = Task("t", "regression", ("a",), metrics=("mean_squared_error", "mean_absolute_error"))
    assert (task.main_metric, task.greater_is_better) == ("combined_score", False)
    assert Task("t", "regression", ("a",)).greater_is_better
    with pytest.raises(ValueError, match="pass one of them as main_metric"):
        Task("t", "regression", ("a",), metrics=("pearson", "mean_squared_error"))
    mixed = Task(
        "t", "regression", ("a",), metrics=("pearson", "mean_squared_error"), main_metric="mean_squared_error"
    )
    assert mixed.greater_is_better is False


# ---- Several labels at once


@MANY
@given(
    st.integers(1, 12).flatmap(lambda n: st.tuples(*[hnp.arrays(np.int64, (n, 3), elements=st.integers(0, 1))] * 2))
)
def test_multi_label_metrics_equal_scikit_learn(case):
    predicted, references = case
    task = Task("t", "sequence_classification", ("a",), ("x", "y", "z"), metrics=("f1_micro", "f1_macro", "accuracy"),
                problem_type="multi_label_classification")  # fmt: skip
    logits = np.where(predicted == 1, 0.3, -0.2)
    scores = task.compute_metrics(EvalPrediction(logits, references.astype(np.float32)))
    for average in ("micro", "macro"):
        expected = sk.f1_score(references, predicted, average=average, zero_division=0)
        assert scores[f"f1_{average}"] == pytest.approx(expected)
    assert scores["accuracy"] == pytest.approx(sk.accuracy_score(references, predicted))


# ---- Words


TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def tagged(rows, labels=TAGS):
    """Padded logits and labels of rows of (predicted, true) tags, with a second sub-word after each word."""
    length = 2 + 2 * max(len(row) for row in rows)
    logits, references = np.zeros((len(rows), length, len(labels))), np.full((len(rows), length), -100)
    logits[..., 1] = 5  # sub-words and padding do not count
    for number, row in enumerate(rows):
        for word, (predicted, true) in enumerate(row):
            logits[number, 1 + 2 * word] = 10 * np.eye(len(labels))[labels.index(predicted)]
            references[number, 1 + 2 * word] = labels.index(true)
    return logits, references


@MANY
@given(st.lists(st.lists(st.tuples(*[st.sampled_from(TAGS)] * 2), min_size=1, max_size=8), min_size=1, max_size=5))
def test_spans_equal_seqeval(rows):
    task = Task("t", "token_classification", ("w",), TAGS, metrics=("span_f1", "accuracy"))
    scores = task.compute_metrics(EvalPrediction(*tagged(rows)))
    predicted = [[one for one, _ in row] for row in rows]
    true = [[other for _, other in row] for row in rows]
    assert scores["span_f1"] == pytest.approx(seqeval_f1(true, predicted, zero_division=0))
    flat = [pair for row in rows for pair in row]
    assert scores["accuracy"] == pytest.approx(np.mean([one == other for one, other in flat]))


def test_spans_by_hand():
    def f1(predicted, true):
        rows = [list(zip(predicted.split(), true.split(), strict=True))]
        labels = tuple(dict.fromkeys([*predicted.split(), *true.split(), "O", "X"]))
        task = Task("t", "token_classification", ("w",), labels)
        return task.compute_metrics(EvalPrediction(*tagged(rows, labels)))["span_f1"]

    assert f1("B-PER I-PER O", "B-PER I-PER O") == 1
    assert f1("B-PER O O", "B-PER I-PER O") == 0  # half a name is none
    assert f1("B-PER I-PER B-LOC", "B-PER I-PER O") == pytest.approx(2 / 3)
    assert f1("I-PER I-PER O", "B-PER I-PER O") == 1  # conlleval's leniency
    assert f1("NOUN VERB NOUN", "NOUN NOUN NOUN") == pytest.approx(2 * 2 / (3 + 3))  # parts of speech
    assert f1("O O", "O O") == 0


#: How schemes write a span's first word, the words inside it, its last word, and a span of one word.
SCHEMES = {"IOBES": "BIES", "BILOU": "BILU", "BMES": "BMES"}


@pytest.mark.parametrize("scheme", SCHEMES)
@given(st.lists(st.tuples(st.sampled_from(["", "-PER", "-LOC"]), st.integers(0, 4)), max_size=6), st.booleans())
def test_schemes_of_tags(scheme, spans, typed):
    """The tags of any scheme give the spans that were written."""
    first, inside, last, single = SCHEMES[scheme]
    tags, written = ["O"], set()
    for kind, length in spans:
        kind = (kind or "-ORG") if typed else ""
        if length:
            written.add((len(tags), len(tags) + length, kind.removeprefix("-")))
            places = single if length == 1 else first + inside * (length - 2) + last
            tags += [place + kind for place in places]
        else:
            tags.append("O")
    assert spans_of(tags) == written


def test_a_tag_that_may_be_a_word_s_class():
    """Beside tags of other forms, `M` alone is a part of speech."""
    assert spans_of(["M", "M", "NN"]) == {(0, 1, "M"), (1, 2, "M"), (2, 3, "NN")}
    assert spans_of(["M", "M"]) == {(0, 2, "")}


def test_masked_lm_accuracy():
    task = Task("t", "masked_lm", ("a",))
    references = np.array([[-100, 7, -100, 3], [-100, 5, 2, -100]])
    ids = np.array([[1, 7, 1, 4], [1, 5, 2, 9]])
    assert task.compute_metrics(EvalPrediction(ids, references)) == {"accuracy": 0.75}
    assert task.compute_metrics(EvalPrediction(one_hot(ids, 10), references)) == {"accuracy": 0.75}


# ---- Rows that belong together


def grouped(metrics, predictions, references, **columns):
    rows = Dataset.from_dict(columns)
    return compute_scores(metrics, find_kind("sequence_classification"), predictions, references, ["no", "yes"], rows)


def test_multirc_by_hand():
    # Question a: both right; b: one of two; c: its only answer wrong.
    scores = grouped(("f1a", "exact_match"), one_hot([1, 0, 1, 1, 0], 2), [1, 0, 1, 0, 1], question_id=list("aabbc"))
    assert scores["exact_match"] == pytest.approx(1 / 3)
    assert scores["f1a"] == pytest.approx(2 * 2 / (3 + 3))
    assert scores["combined_score"] == pytest.approx((1 / 3 + 2 / 3) / 2)


@MANY
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.booleans()), min_size=1, max_size=25))
def test_multirc_equals_straight_line_code(rows):
    """Answers in any order, grouped as in SuperGLUE's scorer."""
    ids, predicted, references = (list(map(int, column)) for column in zip(*rows, strict=True))
    scores = grouped(("f1a", "exact_match"), one_hot(predicted, 2), references, question_id=ids)
    right = {question: all(p == r for q, p, r in rows if q == question) for question in ids}
    assert scores["exact_match"] == pytest.approx(sum(right.values()) / len(right))
    assert scores["f1a"] == pytest.approx(
        sk.f1_score(references, predicted, labels=[1], average="macro", zero_division=0)
    )


def test_gender_parity_by_hand():
    scores = grouped(
        ("accuracy", "gender_parity"), one_hot([0, 0, 0, 1, 1], 2), [0, 1, 0, 0, 1], pair_id=[0, 0, 1, 1, 2]
    )
    assert scores["gender_parity"] == 0.5  # the pair whose other row is missing does not count
    assert scores["accuracy"] == pytest.approx(3 / 5)


def record(margins, query_id, candidate, answers):
    logits = np.stack([np.zeros(len(margins)), margins], axis=1)
    labels = [int(one in right) for one, right in zip(candidate, answers, strict=True)]
    return grouped(("record_f1", "record_em"), logits, labels, query_id=query_id, candidate=candidate, answers=answers)


def test_record_by_hand():
    scores = record(
        [0.1, 0.9, 0.3, 0.2, 0.8],
        ["q", "q", "q", "r", "r"],
        ["Paul", "The  New York!", "Anna", "Rome", "Old Rome"],
        [["new york", "York"]] * 3 + [["Rome"]] * 2,
    )
    # "The New York!" is an answer but for case, article and punctuation; of "Old Rome" one word of two is in "Rome".
    assert scores["record_em"] == 0.5
    assert scores["record_f1"] == pytest.approx((1 + 2 * 1 / (2 + 1)) / 2)
    tie = record([0.5, 0.5], ["q", "q"], ["a b", "c"], [["c"]] * 2)
    assert tie["record_em"] == 0  # the first of equals


def test_record_compares_margins_not_logits():
    """The margin is the logit of yes minus the logit of no, not the logit of yes."""
    logits = np.array([[5.0, 5.5], [0.0, 1.0]])
    scores = grouped(
        ("record_em", "record_f1"), logits, [0, 1], query_id=["q"] * 2, candidate=["x", "y"], answers=[["y"]] * 2
    )
    assert scores["record_em"] == 1


def test_missing_rows_are_refused():
    with pytest.raises(ValueError, match="rows"):
        compute_scores(("exact_match",), find_kind("sequence_classification"), one_hot([0], 2), [0], ["a", "b"])
    with pytest.raises(ValueError, match="rows"):
        grouped(("exact_match",), one_hot([0], 2), [0], question_id=["a", "b"])


def test_no_rows_at_all():
    scored = set()
    for kind in KINDS.values():
        shape = {"regression": (0,), "token_classification": (0, 0, 2), "masked_lm": (0, 0)}.get(kind.name, (0, 2))
        references = np.zeros((0, 0) if kind.name in ("token_classification", "masked_lm") else 0)
        for name in kind.metrics:
            rows = Dataset.from_dict({column: [] for column in METRICS[name].columns})
            scores = compute_scores((name,), kind, np.zeros(shape), references, ["a", "b"], rows)
            assert np.isnan(scores[name]), name
            scored.add(name)
    assert scored == set(METRICS)
