"""What the most frequent label scores as the answer to all rows, by the formulas of its share."""

import pytest

from hf_alphavil.kinds import find_kind
from hf_alphavil.tasks.majority import majority_scores

CLASSIFICATION = find_kind("sequence_classification")


def test_a_frequent_class_1_has_accuracy_and_f1():
    share = 279 / 408  # MRPC's validation rows
    scores = majority_scores([0] * 129 + [1] * 279, CLASSIFICATION, ("accuracy", "f1"), ("no", "yes"))
    f1 = 2 * share / (1 + share)
    assert scores == pytest.approx({"accuracy": share, "f1": f1, "combined_score": (share + f1) / 2})


@pytest.mark.parametrize(
    ("labels", "names", "f1"),
    [([0, 0, 1], ("no", "yes"), 0.0), ([2, 2, 1, 0], ("a", "b", "c"), 2 / 9), ([1, 1], ("a", "b", "c"), 1.0)],
)
def test_f1_of_other_classes(labels, names, f1):
    assert majority_scores(labels, CLASSIFICATION, ("f1",), names) == {"f1": pytest.approx(f1)}


def test_other_metrics_are_left_out():
    of_cola = majority_scores([0, 1, 1], CLASSIFICATION, ("matthews_correlation",), ("a", "b"))
    assert of_cola == {"matthews_correlation": 0.0}
    of_multirc = majority_scores([0, 1, 1], CLASSIFICATION, ("f1a", "exact_match"), ("a", "b"))
    assert of_multirc == {}
    assert majority_scores([0, 1], CLASSIFICATION, ("accuracy", "f1a"), ("a", "b")) == {"accuracy": 0.5}


def test_rows_without_one_class_have_no_majority():
    several = find_kind("sequence_classification", "multi_label_classification")
    assert majority_scores([[0, 1], [1, 1]], several, ("accuracy",), ("a", "b")) == {}
    assert majority_scores([-1, -1], CLASSIFICATION, ("accuracy",), ("a", "b")) == {}
    assert majority_scores([], CLASSIFICATION, ("accuracy",), ("a", "b")) == {}
    choices = majority_scores([3, 3, 0], find_kind("multiple_choice"), ("accuracy",))
    assert choices == {"accuracy": pytest.approx(2 / 3)}
