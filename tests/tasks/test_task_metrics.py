"""Metrics of the benchmark tasks, against hand-worked values, scikit-learn and scipy."""

import warnings

import numpy as np
import pytest
from datasets import Dataset
from scipy import stats
from sklearn import metrics
from transformers import EvalPrediction

from hf_alphavil.tasks import Task, load_tasks
from hf_alphavil.tasks.metrics import METRICS, evaluate_metric
from support.forking import fork


def classification(num_labels=2, **settings):
    return Task("t", "sequence_classification", ("text",), tuple("abcd"[:num_labels]), **settings)


def score(task, predictions, references):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return task.compute_metrics(EvalPrediction(predictions=predictions, label_ids=np.asarray(references)))


def logits_of(ids, num_labels):
    return np.eye(num_labels, dtype=np.float32)[ids] - 0.5


@pytest.mark.parametrize("seed", range(5))
def test_classification_against_sklearn(seed):
    rng = np.random.default_rng(seed)
    references, predictions = rng.integers(2, size=50), rng.integers(2, size=50)
    task = classification(metrics=("accuracy", "f1", "matthews_correlation"), main_metric="f1")
    expected = {
        "accuracy": metrics.accuracy_score(references, predictions),
        "f1": metrics.f1_score(references, predictions),
        "matthews_correlation": metrics.matthews_corrcoef(references, predictions),
    }
    expected["combined_score"] = sum(expected.values()) / 3
    got = score(task, logits_of(predictions, 2), references)
    assert got == pytest.approx(expected, abs=1e-12)
    assert all(type(value) is float for value in got.values())


@pytest.mark.parametrize("seed", range(5))
def test_macro_f1_against_sklearn(seed):
    rng = np.random.default_rng(seed)
    references, predictions = rng.integers(3, size=40), rng.integers(3, size=40)
    got = score(classification(3, metrics=("accuracy", "f1")), logits_of(predictions, 3), references)
    f1 = metrics.f1_score(references, predictions, average="macro")
    accuracy = metrics.accuracy_score(references, predictions)
    assert got == pytest.approx({"accuracy": accuracy, "f1": f1, "combined_score": (f1 + accuracy) / 2}, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_regression_against_scipy(seed):
    rng = np.random.default_rng(seed)
    references = rng.uniform(0, 5, size=30).astype(np.float32).round()  # with ties
    predictions = (references + rng.normal(size=30)).astype(np.float32)
    pearson, spearman = stats.pearsonr(predictions, references)[0], stats.spearmanr(predictions, references)[0]
    expected = {"pearson": pearson, "spearmanr": spearman, "combined_score": (pearson + spearman) / 2}
    task = Task("t", "regression", ("text",))
    assert score(task, predictions[:, None], references) == pytest.approx(expected, abs=1e-6)
    assert score(task, (predictions, "hidden states"), references[:, None]) == pytest.approx(expected, abs=1e-6)


def test_by_hand():
    # 3 true positives, 1 false positive, 2 false negatives, 4 true negatives
    references = [1, 1, 1, 0, 1, 1, 0, 0, 0, 0]
    predictions = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    task = classification(metrics=("accuracy", "f1", "matthews_correlation"))
    got = score(task, (logits_of(predictions, 2), "hidden states"), references)
    assert got["accuracy"] == pytest.approx(0.7)
    assert got["f1"] == pytest.approx(2 * 3 / (2 * 3 + 1 + 2))
    assert got["matthews_correlation"] == pytest.approx((3 * 4 - 1 * 2) / (4 * 5 * 5 * 6) ** 0.5)
    # Class c occurs nowhere and does not count: F1 of a = 2/3, of b = 0.8. A wrong c counts as 0.
    macro = classification(3, metrics=("f1", "f1_macro"))
    got = score(macro, logits_of([0, 1, 1, 1], 3), [0, 0, 1, 1])
    assert [got["f1"], got["f1_macro"]] == pytest.approx([(2 / 3 + 0.8) / 2] * 2)
    got = score(macro, logits_of([0, 2, 1, 1], 3), [0, 0, 1, 1])
    assert [got["f1"], got["f1_macro"]] == pytest.approx([(2 / 3 + 1 + 0) / 3] * 2)


def test_right_predictions_of_some_labels_score_one():
    names = ("f1", "f1_macro", "f1_weighted", "f1_micro")
    got = score(classification(4, metrics=names), logits_of([0, 2, 2], 4), [0, 2, 2])
    assert got == dict.fromkeys((*names, "combined_score"), 1.0)


@pytest.mark.parametrize("predicted", [(0, 1, 2), (0, 1), (1,)])
def test_f1_of_cb_is_that_of_superglue(predicted, miniature):
    """The scorer averages the F1 of every class, which is 0 if no row is right. CB's rows have these labels."""
    references = np.repeat([0, 1, 2], [23, 28, 5])
    predictions = np.random.default_rng(0).choice(predicted, size=56)
    of_class = []
    for label in range(3):
        right = int(((predictions == label) & (references == label)).sum())
        of_class.append(2 * right / int((predictions == label).sum() + (references == label).sum()))
    got = score(load_tasks("cb", data_dir=miniature("cb"))["cb"], logits_of(predictions, 3), references)
    assert got["f1"] == pytest.approx(sum(of_class) / 3)


@pytest.mark.parametrize(
    ("name", "keys", "main"),
    [
        ("mrpc", {"accuracy", "f1", "combined_score"}, "combined_score"),
        ("cb", {"accuracy", "f1", "combined_score"}, "combined_score"),
        ("stsb", {"pearson", "spearmanr", "combined_score"}, "combined_score"),
        ("cola", {"matthews_correlation"}, "matthews_correlation"),
        ("rte", {"accuracy"}, "accuracy"),
        ("wnli", {"accuracy"}, "accuracy"),
        ("copa", {"accuracy"}, "accuracy"),
    ],
)
def test_keys_of_the_benchmark_tasks(miniature, name, keys, main):
    task = load_tasks(name, data_dir=miniature(name))[name]
    size = 1 if task.kind == "regression" else len(task.labels)
    got = score(task, np.random.default_rng(0).normal(size=(3, size)), task.validation["label"][:])
    assert set(got) == keys
    assert task.main_metric == main
    assert task.greater_is_better


def test_constant_predictions_score_zero():
    task = Task("t", "regression", ("text",))
    for predictions in (np.full((4, 1), 2.5), np.full(4, 1e-30)):
        assert score(task, predictions, [1.0, 2, 3, 4]) == {"pearson": 0, "spearmanr": 0, "combined_score": 0}
    assert score(task, np.arange(4.0), np.ones(4))["pearson"] == 0
    assert score(task, np.array([[1.0]]), [2.0])["combined_score"] == 0
    nearly = np.full(4, 1e8)
    nearly[0] += 1e-7
    assert np.isfinite(score(task, nearly, [1.0, 2, 3, 4])["pearson"])
    cola = classification(metrics=("matthews_correlation",))
    assert score(cola, logits_of([1, 1, 1], 2), [0, 1, 1]) == {"matthews_correlation": 0}
    assert score(cola, logits_of([1, 0, 1], 2), [1, 1, 1]) == {"matthews_correlation": 0}


def test_diverged_predictions_have_no_correlation():
    got = score(Task("t", "regression", ("text",)), np.array([1.0, np.nan, 2.0]), [1.0, 2, 3])
    assert np.isnan(got["pearson"])


@pytest.mark.parametrize("shape", [(0,), (0, 2), (0, 0)])
def test_no_rows(shape):
    if len(shape) == 2:
        got = score(classification(metrics=("accuracy", "f1")), np.zeros(shape), np.zeros(0))
        assert set(got) == {"accuracy", "f1", "combined_score"}
        assert np.isnan(list(got.values())).all()
    else:
        assert np.isnan(score(Task("t", "regression", ("text",)), np.zeros(shape), np.zeros(0))["combined_score"])


def test_wrong_shapes():
    with pytest.raises(ValueError, match="3 predictions but 2 references"):
        score(classification(), np.zeros((3, 2)), [0, 1])
    with pytest.raises(ValueError, match=r"shape \(rows, labels\), got \(3,\)"):
        score(classification(), np.zeros(3), [0, 1, 1])
    with pytest.raises(ValueError, match=r"shape \(rows,\) or \(rows, 1\), got \(3, 2\)"):
        score(Task("t", "regression", ("text",)), np.zeros((3, 2)), [0, 1, 1])


def test_metrics_do_not_change_the_random_state():
    np.random.seed(3)
    expected = np.random.rand()
    np.random.seed(3)
    score(classification(), logits_of([0, 1], 2), [0, 1])
    assert np.random.rand() == expected


def test_metric_classes_by_themselves():
    assert METRICS["accuracy"]().compute(predictions=[0, 1], references=[0, 0]) == {"accuracy": 0.5}
    ids = np.eye(3, dtype=int)
    assert evaluate_metric("accuracy", "multilabel").compute(predictions=ids, references=ids) == {"accuracy": 1.0}
    metric = evaluate_metric("pearson")
    metric.add_batch(predictions=[1.0, 2.0], references=[1.0, 2.0])
    metric.add(prediction=3.0, reference=0.0)
    assert metric.compute()["pearson"] == pytest.approx(-0.5)


def score_many_times():
    task = classification(metrics=("accuracy", "f1"))
    for size in range(2, 60):
        references = np.arange(size) % 2
        assert score(task, np.eye(2)[references], references)["combined_score"] == 1.0


@pytest.mark.slow
def test_two_processes_at_once():
    run = fork(score_many_times, config="ddp", num_processes=2)
    assert run.returncode == 0, run.stderr


def test_unused_rows_stay_unread():
    """A task without rows can score, as the evaluation of an exported run needs."""
    task = classification(test=Dataset.from_dict({"text": ["a"]}))
    assert score(task, logits_of([1], 2), [1]) == {"accuracy": 1.0}
