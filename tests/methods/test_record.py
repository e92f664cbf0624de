"""A method's report on an epoch: the keys of the history entry, and the logged values."""

from hf_alphavil.methods import EpochRecord

ALPHAVIL = EpochRecord(
    alpha={"a": 1.5, "b": 0.5},
    meta_values=[0.25, 0.75],
    objective="metric",
    pruned=["b"],
    details={"acceptance_metric": [0.25, 0.75], "alpha_diverged": False},
)


def test_the_history_entry_has_the_keys_in_their_order():
    assert list(ALPHAVIL.history_entry().items()) == [
        ("alpha", {"a": 1.5, "b": 0.5}),
        ("meta_metric", [0.25, 0.75]),
        ("acceptance_metric", [0.25, 0.75]),
        ("alpha_diverged", False),
        ("pruned", ["b"]),
    ]
    assert list(EpochRecord().history_entry().items()) == [("alpha", {}), ("meta_loss", [])]
    assert EpochRecord(pruned=[], task_weights_used={"a": 1.0}).history_entry() == {
        "alpha": {}, "meta_loss": [], "pruned": [], "task_weights_used": {"a": 1.0},
    }  # fmt: skip


def test_logs_hold_only_scalars():
    assert ALPHAVIL.logs({"a": 2.0, "b": 0.0}) == {
        "alpha_a": 1.5, "alpha_b": 0.5, "weight_a": 2.0, "weight_b": 0.0, "meta_metric": 0.75, "pruned_b": 1.0,
    }  # fmt: skip
    assert EpochRecord().logs({"a": 1.0}) == {"weight_a": 1.0}
