"""α beyond the paper: objectives, optimizers, layers, penalties, averages and pruning, against the reference."""

import numpy as np
import pytest
import torch
from scipy.optimize import direct, minimize

from reference.straight_line import entropy_of, loss_of, merge, take
from support.exactness import TOLERANCE, assert_equals_reference, reference
from support.forking import fork_runs
from support.toy_run import META_ROWS, NOISY_RUN, SIZES, TARGET, run_toy, toy_data, toy_model

LEARNING_RATE = {"weight_applies_to": "learning_rate", "normalize_task_weights": "all"}
#: b leaves after the second or third of five epochs.
PRUNES = {
    "alpha_learning_rate": 0.5,
    "weight_average": 0.5,
    "min_task_weight": 0.5,
    "max_task_weight": 2.0,
    "prune_below": 0.75,
}
# Settings with the same names in the trainer and the reference.
# fmt: off
CASES = {
    "layers": {"alpha_granularity": "layer"},
    "layers_of_the_encoder": {"alpha_granularity": "layer", "alpha_applies_to": "encoder", "alpha_batch_size": 16},
    "layers_adam": {"alpha_granularity": "layer", "alpha_optimizer": "adam", "alpha_l2": 0.01, "alpha_l1": 0.001},
    "l1": {"alpha_l1": 0.001},
    "l2": {"alpha_l2": 0.01},
    "large_penalty": {"alpha_l2": 0.3},
    "penalised_layers": {"alpha_granularity": "layer", "alpha_l1": 0.001, "alpha_l2": 0.01},
    "average": {"weight_average": 0.6, "min_task_weight": 0.9, "max_task_weight": 1.2, **LEARNING_RATE},
    "target_bound": {"min_target_weight": 1.0, "min_task_weight": 0.0, "alpha_objective": "entropy", **LEARNING_RATE},
    "target_bound_alone": {"min_target_weight": 0.95, "alpha_objective": "entropy"},
    "changes": {"max_weight_change": 0.05, **LEARNING_RATE},
    "normalized_auxiliaries": {**LEARNING_RATE, "normalize_task_weights": "auxiliaries"},
    "normalized_by_target": {"normalize_task_weights": "target"},
    "bounded": {"alpha_min": 0.97, "alpha_max": 1.05, "alpha_l1": 0.001},
    "bounded_layers": {"alpha_min": 0.9, "alpha_granularity": "layer", "alpha_optimizer": "adam"},
    "held_out": {"alpha_acceptance": "held_out"},
    "held_out_batches": {"alpha_acceptance": "held_out", "alpha_batch_size": 12, "alpha_optimizer": "adam"},
    "weights": {"task_weights": (("b", 2.0), ("c", 0.5)), "joint_fraction": 0.3},
    "weights_normalized": {"task_weights": (("a", 1.0), ("b", 2.0)), "min_target_weight": 0.9, **LEARNING_RATE},
    "guarded": {
        "alpha_min": 0.9, "alpha_max": 1.1, "max_weight_change": 0.08, "min_target_weight": 0.97,
        "task_weights": (("a", 1.0), ("b", 2.0)), "alpha_granularity": "layer", "alpha_acceptance": "held_out",
        **LEARNING_RATE,
    },
    "pruning": PRUNES,
    "pruning_by_learning_rate": PRUNES | LEARNING_RATE | {"alpha_granularity": "layer"},
    "pruning_auxiliaries": PRUNES | LEARNING_RATE | {"normalize_task_weights": "auxiliaries"},
    "pruning_joint": PRUNES | {"joint_fraction": 0.4, "task_sampling": "weights"},
    "prompt_pruning": PRUNES | {"weight_average": 0.0, "prune_below": 0.5, "prune_patience": 1},
    "entropy": {"alpha_objective": "entropy"},
    "entropy_of_layers": {"alpha_objective": "entropy", "alpha_granularity": "layer", "alpha_batch_size": 16},
}
# fmt: on
EPOCHS = 5


def epochs_of(case):
    return EPOCHS if "prun" in case else 3


def run_case(folder, case, **more):
    return run_toy(folder, num_train_epochs=epochs_of(case), **settings_of(case) | more)


def settings_of(case):
    settings = CASES[case]
    return settings | {"task_weights": dict(settings["task_weights"])} if "task_weights" in settings else settings


def expected(case):
    return reference(epochs=epochs_of(case), **CASES[case])


@pytest.mark.parametrize("case", CASES)
def test_equals_straight_line_reference(case, tmp_path):
    assert_equals_reference(run_case(tmp_path, case), expected(case))


def test_the_cases_are_not_trivial():
    """Every setting made a difference, tasks were pruned at different times, and nothing fell back to its start."""
    pruned = {}
    for case in CASES:
        records, plain = expected(case), reference(epochs=epochs_of(case))
        assert not any(record["fallback"] for record in records), case
        assert records[-1]["task_weights"] != pytest.approx(plain[-1]["task_weights"], abs=1e-3), case
        pruned[case] = [epoch for epoch, record in enumerate(records) if record["pruned"]]
    assert all(bool(epochs) == ("prun" in case) for case, epochs in pruned.items()), pruned
    assert len({tuple(epochs) for epochs in pruned.values() if epochs}) > 1
    by_layer = expected("layers")[-1]["alpha_by_layer"][TARGET]
    assert set(by_layer) == {"0", "2", "(heads)"}
    assert len({round(alpha, 3) for alpha in by_layer.values()}) == 3


# ---- Pruning


def test_a_pruned_task_costs_nothing_and_the_log_says_so(tmp_path, caplog):
    run = run_case(tmp_path, "pruning", logging_strategy="epoch")
    gone = next(epoch for epoch, entry in enumerate(run["history"]) if entry["pruned"])
    (task,) = run["history"][gone]["pruned"]
    assert task != TARGET
    assert 0 < gone < EPOCHS - 1
    assert run["history"][gone]["alpha"][task] != 1.0
    for entry, tensors in zip(run["history"][gone + 1 :], run["epochs"][gone + 1 :], strict=True):
        assert task not in entry["alpha"]
        assert task not in tensors["delta"]
        assert entry["task_weights"][task] == entry["task_weights_used"][task] == 0.0
    steps = {name: -(-size // 8) for name, size in SIZES.items()}
    saved = steps[task] * (EPOCHS - 1 - gone)
    assert run["counted"]["global_step"] == EPOCHS * sum(steps.values()) - saved
    assert f"{task} left the plan after epoch {gone + 1}" in caplog.text
    assert f"This saves {steps[task]} of the {sum(steps.values())} optimizer steps of an epoch." in caplog.text
    assert [entry for entry in run["log_history"] if f"pruned_{task}" in entry]


def test_the_target_is_never_pruned(tmp_path):
    run = run_toy(tmp_path, num_train_epochs=4, min_task_weight=0.9, max_task_weight=1.0, prune_below=0.99,
                  prune_patience=1, alpha_objective="entropy")  # fmt: skip
    assert any(entry["task_weights"][TARGET] == 0.9 for entry in run["history"])
    assert not any(TARGET in entry["pruned"] for entry in run["history"])


# ---- L-BFGS and the gradient-free search, called directly on the same function


def functional(tensors, objective=loss_of):
    """The objective on all meta rows as a function of α as a tensor, tasks in order of their names."""
    _, meta = toy_data()
    model, batch = toy_model(), take(meta, range(META_ROWS))

    def value(alpha):
        coefficients = dict(zip(sorted(SIZES), alpha, strict=True))
        return objective(model, merge(tensors["theta0"], tensors["delta"], coefficients, "all"), TARGET, batch)

    return value


def accuracy_of(model, theta, task, batch):
    with torch.no_grad():
        logits = torch.func.functional_call(model, theta, (task,), dict(batch))["logits"]
        return (logits.argmax(-1) == batch["labels"]).double().mean()


@pytest.mark.parametrize("name", ["loss", "entropy"])
def test_lbfgs_is_scipys_on_the_functional_objective(name, tmp_path):
    run = run_toy(tmp_path, alpha_optimizer="lbfgs", alpha_l2=0.002, alpha_steps=4, alpha_objective=name)
    lengths, moves = [], []
    for entry, tensors in zip(run["history"], run["epochs"], strict=True):
        value = functional(tensors, {"loss": loss_of, "entropy": entropy_of}[name])

        def total(point, value=value):
            alpha = torch.tensor(point, requires_grad=True)
            result = value(alpha) + 0.002 * ((alpha - 1) ** 2).sum()
            (gradient,) = torch.autograd.grad(result, [alpha])
            return result.item(), gradient.numpy()

        values = [value(torch.ones(3, dtype=torch.float64)).item()]
        found = minimize(
            total, np.ones(3), jac=True, method="L-BFGS-B", options={"maxiter": 4},
            callback=lambda x, values=values, value=value: values.append(value(torch.tensor(x)).item()),
        )  # fmt: skip
        assert list(entry["alpha"].values()) == pytest.approx(found.x, abs=TOLERANCE)
        assert entry[f"meta_{name}"] == pytest.approx(values, rel=TOLERANCE)
        assert entry[f"acceptance_{name}"] == pytest.approx([values[0], values[-1]], rel=TOLERANCE)
        lengths.append(len(values))
        moves.append(np.abs(found.x - 1).max())
    assert max(lengths) > 2
    assert max(moves) > 0.1


@pytest.mark.parametrize("name", ["metric", "loss"])
def test_gradient_free_is_scipys_on_the_functional_objective(name, tmp_path):
    settings = {"alpha_optimizer": "gradient_free", "alpha_learning_rate": 0.4, "alpha_l1": 0.001}
    run = run_toy(tmp_path, alpha_objective=name, metric_for_best_model="accuracy", **settings)
    sign = -1.0 if name == "metric" else 1.0
    gains = []
    for entry, tensors in zip(run["history"], run["epochs"], strict=True):
        value = functional(tensors, accuracy_of if name == "metric" else loss_of)
        tried = []

        def total(point, value=value, tried=tried):
            alpha = torch.tensor(point)
            tried.append((sign * value(alpha).item() + 0.001 * float((alpha - 1).abs().sum()), point.copy()))
            return tried[-1][0]

        direct(total, [(-1.0, 3.0)] * 3, maxfun=5 * 4, vol_tol=0)
        best = min(tried, key=lambda trial: trial[0])[1]
        assert list(entry["alpha"].values()) == pytest.approx(best, abs=TOLERANCE)
        values = entry[f"meta_{name}"]
        assert values[-1] == pytest.approx(value(torch.tensor(best)).item(), abs=TOLERANCE)
        assert len(values) == 5 + 1
        assert entry[f"acceptance_{name}"] == [values[0], values[-1]]
        assert "meta_loss" not in entry or name == "loss"
        gains.append(sign * (values[0] - values[-1]))
    assert all(gain >= 0 for gain in gains)
    assert max(gains) > 0


# ---- Several processes

#: Only the trainer has these: runs on several processes are compared with the run on one.
SEARCHES = {
    "secant": {"alpha_optimizer": "secant", "alpha_granularity": "layer"},
    "lbfgs": {"alpha_optimizer": "lbfgs", "alpha_l2": 0.01, "alpha_granularity": "layer"},
    "gradient_free": {
        "alpha_optimizer": "gradient_free", "alpha_objective": "metric", "alpha_learning_rate": 0.4,
        "metric_for_best_model": "accuracy",
    },
}  # fmt: skip


#: Epochs of the cases: without pruning, a second epoch, which starts from the weights of the first, shows all.
TWO_PROCESS_EPOCHS = {
    "penalised_layers": 2, "entropy_of_layers": 2, "guarded": 2,
    "pruning_by_learning_rate": EPOCHS, "pruning_joint": EPOCHS,
}  # fmt: skip


@pytest.mark.distributed
@pytest.mark.parametrize(
    ("config", "cases", "searches"),
    [
        ("ddp", TWO_PROCESS_EPOCHS, SEARCHES),
        ("fsdp2", ["penalised_layers"], ["lbfgs", "secant"]),
        pytest.param(
            "fsdp2",
            [case for case in TWO_PROCESS_EPOCHS if case != "penalised_layers"],
            ["gradient_free"],
            marks=pytest.mark.slow,
        ),
    ],
    ids=["ddp", "fsdp2", "fsdp2, the other cases"],
)
def test_two_processes_equal_the_reference(config, cases, searches, tmp_path):
    settings = [settings_of(case) | {"num_train_epochs": TWO_PROCESS_EPOCHS[case]} for case in cases]
    settings += [SEARCHES[search] | {"num_train_epochs": 2} for search in searches]
    runs = [
        {"output_dir": str(tmp_path / str(i)), **given, "per_device_train_batch_size": 4}
        for i, given in enumerate(settings)
    ]
    results = fork_runs(run_toy, runs, config, 2)
    for run in results:
        assert len(set(run["rank_checksum"])) == 1
        assert run["sharded"] == (set(run["state"]) if config == "fsdp2" else set())
    for case, run in zip(cases, results, strict=False):
        assert_equals_reference(run, reference(epochs=TWO_PROCESS_EPOCHS[case], **CASES[case]))
    for search, run in zip(searches, results[len(cases) :], strict=True):
        alone = run_toy(tmp_path / "alone", num_train_epochs=2, **SEARCHES[search])
        for mine, theirs in zip(run["history"], alone["history"], strict=True):
            # A line search depends on the last digits of a sum, so that paths are equal only approximately.
            assert mine["alpha"] == pytest.approx(theirs["alpha"], abs=1e-5)


@pytest.mark.slow
@pytest.mark.distributed
def test_side_by_side_equals_one_process_to_the_last_bit(tmp_path):
    """A group whose tasks are all pruned waits. The other groups continue to fit their α, in one pass per step."""
    common = NOISY_RUN | {"num_train_epochs": 2, "per_device_meta_batch_size": META_ROWS}
    prunes = PRUNES | {"prune_below": 0.99, "prune_patience": 1, "alpha_granularity": "layer"}
    settings = [
        common | prunes | {"num_train_epochs": EPOCHS},
        common | SEARCHES["lbfgs"],
        common | SEARCHES["gradient_free"],
        common | SEARCHES["secant"],
    ]
    runs = [
        {"output_dir": str(tmp_path / str(i)), **given, "phase_parallel": "on"} for i, given in enumerate(settings)
    ]
    for given, run in zip(settings, fork_runs(run_toy, runs, "ddp", 2), strict=True):
        alone = run_toy(tmp_path / "alone", **given)
        assert run["history"] == alone["history"]
        assert all(torch.equal(run["state"][name], tensor) for name, tensor in alone["state"].items())
        if "prune_below" in given:
            assert any(entry["pruned"] for entry in alone["history"][:-1])
