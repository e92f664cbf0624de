"""Self-checks of the reference."""

import copy
import itertools
import math

import pytest
import torch
from torch import nn

from reference.straight_line import (
    derive_seed,
    joint_counts,
    loss_of,
    merge,
    schedule_factor,
    straight_line_avil,
    take,
)
from reference.toy import ToyDataset, ToyModel, toy_tasks

SIZES = {"rte": 24, "mnli": 90, "cola": 41, "stsb": 33}
N_LABELS = {"rte": 2, "mnli": 3, "cola": 2, "stsb": 1}
BASE = {
    "epochs": 3,
    "learning_rate": 0.1,
    "per_step_rows": 8,
    "momentum": 0.9,
    "weight_decay": 0.01,
    "min_task_weight": 0.1,
    "normalize_task_weights": "none",
    "alpha_steps": 5,
    "alpha_learning_rate": 0.1,
    "alpha_batch_size": 40,
    "data_seed": 7,
}


def toy(seed=0):
    train, meta = toy_tasks(SIZES, seed, target="rte", n_labels=N_LABELS)
    return ToyModel(N_LABELS), train, meta


def run(**changes):
    model, train, meta = toy()
    return straight_line_avil(model, train, meta, "rte", **(BASE | changes))


def difference(a, b):
    """Largest absolute difference of two records' numbers."""
    if isinstance(a, dict):
        assert set(a) == set(b)
        return max((difference(a[key], b[key]) for key in a), default=0.0)
    if isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        return max((difference(x, y) for x, y in zip(a, b, strict=True)), default=0.0)
    if isinstance(a, str):
        assert a == b
        return 0.0
    if isinstance(a, torch.Tensor):
        return float((a - b).abs().max())
    return abs(a - b)


def test_the_data_do_not_depend_on_the_order_of_the_tasks():
    train, meta = toy_tasks(SIZES, 0, target="rte", n_labels=N_LABELS)
    again, meta_again = toy_tasks(dict(reversed(SIZES.items())), 0, target="rte", n_labels=N_LABELS)
    assert len(meta) == 40
    assert {t: len(d) for t, d in train.items()} == SIZES
    assert torch.equal(meta.x, meta_again.x)
    assert all(torch.equal(train[t].labels, again[t].labels) for t in SIZES)
    assert train["stsb"][0]["labels"].dtype == torch.float64


@pytest.mark.parametrize("alpha_applies_to", ["all", "encoder"])
def test_alpha_gradient_is_inner_products_and_finite_differences(alpha_applies_to):
    model, _, meta = toy()
    record = run(epochs=1, alpha_applies_to=alpha_applies_to)[0]
    theta0, delta, batch = record["theta0"], record["delta"], take(meta, range(len(meta)))
    for alpha, grads in zip(record["alpha_trace"], record["alpha_grads"], strict=False):
        at = {name: p.requires_grad_() for name, p in merge(theta0, delta, alpha, alpha_applies_to).items()}
        slopes = torch.autograd.grad(loss_of(model, at, "rte", batch), list(at.values()), allow_unused=True)
        for t in delta:
            inner = sum(
                float((g * delta[t][name]).sum())
                for name, g in zip(at, slopes, strict=True)
                if g is not None and (alpha_applies_to == "all" or name.startswith("encoder."))
            )
            assert inner == pytest.approx(grads[t], abs=1e-12)
            assert inner != 0

            def loss(shift, t=t, alpha=alpha):
                moved = alpha | {t: alpha[t] + shift}
                return float(loss_of(model, merge(theta0, delta, moved, alpha_applies_to), "rte", batch).detach())

            assert (loss(1e-5) - loss(-1e-5)) / 2e-5 == pytest.approx(grads[t], abs=1e-8)


@pytest.mark.parametrize("max_grad_norm", [0.0, 0.2])
@pytest.mark.parametrize("state", ["per_task", "reset"])
def test_phases_equal_torch_sgd(max_grad_norm, state):
    """Two epochs' forks again, by backward(), clip_grad_norm_ and torch.optim.SGD, with the linear schedule."""
    records = run(max_grad_norm=max_grad_norm, phase_optimizer_state=state, lr_schedule="linear", warmup_steps=4)
    model, train, _ = toy()
    n = sum(math.ceil(size / 8) for size in SIZES.values())
    for t in SIZES:
        kept = None
        for e, record in enumerate(records):
            fork = copy.deepcopy(model)
            fork.load_state_dict(record["theta0"])
            optimizer = torch.optim.SGD(fork.parameters(), lr=1.0, momentum=0.9, weight_decay=0.01)
            if kept and state == "per_task":
                optimizer.load_state_dict(kept)
            generator = torch.Generator().manual_seed(derive_seed(7, e, t, "rows"))
            rows = torch.randperm(SIZES[t], generator=generator).tolist() * 2
            steps = math.ceil(SIZES[t] / 8)
            for i in range(steps):
                x = n * (e + i / steps)
                optimizer.param_groups[0]["lr"] = 0.1 * (x / 4 if x < 4 else (3 * n - x) / (3 * n - 4))
                optimizer.zero_grad()
                fork(t, **take(train[t], rows[i * 8 : i * 8 + 8]))["loss"].backward()
                if max_grad_norm:
                    nn.utils.clip_grad_norm_(fork.parameters(), max_grad_norm)
                for p in fork.parameters():
                    if p.grad is not None:
                        p.grad *= record["task_weights_used"][t]
                optimizer.step()
            kept = optimizer.state_dict()
            delta = {name: p.detach() - record["theta0"][name] for name, p in fork.named_parameters()}
            assert difference(delta, record["delta"][t]) < 1e-12
            for other in SIZES:
                assert (record["delta"][t][f"heads.{other}.weight"].abs().max() > 0) == (other == t)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"joint_fraction": 0.4, "task_sampling": "weights", "alpha_batch_size": 7, "lr_schedule": "linear"},
        {"joint_fraction": 0.4, "weight_applies_to": "learning_rate", "normalize_task_weights": "all"},
        {"alpha_optimizer": "adam", "alpha_init": "mean", "max_task_weight": 3.0, "alpha_applies_to": "encoder"},
    ],
)
def test_the_order_of_the_tasks_changes_nothing(changes):
    model, train, meta = toy()
    forward = straight_line_avil(model, train, meta, "rte", **(BASE | changes))
    backward = straight_line_avil(model, dict(reversed(train.items())), meta, "rte", **(BASE | changes))
    assert difference(forward, backward) < 1e-12
    assert not any(record["fallback"] for record in forward)


def test_joint_counts():
    assert joint_counts(5, {"c": 1, "b": 1, "a": 1}) == {"a": 2, "b": 2, "c": 1}
    assert joint_counts(10, {"a": 7, "b": 2, "c": 1}) == {"a": 7, "b": 2, "c": 1}
    assert joint_counts(4, {"a": 5.5, "b": 3.5, "c": 1.0}) == {"a": 2, "b": 2, "c": 0}
    for steps in range(30):
        for masses in ({"a": 3, "b": 12, "c": 6}, {"a": 0.1, "b": 0.7, "c": 1.9, "d": 0.0}):
            counts = joint_counts(steps, masses)
            assert sum(counts.values()) == steps
            assert all(abs(counts[t] - steps * masses[t] / sum(masses.values())) < 1 for t in masses)


@pytest.mark.parametrize("sampling", ["proportional", "uniform", "temperature", "weights"])
def test_joint_phase(sampling):
    records = run(joint_fraction=0.4, task_sampling=sampling, sampling_temperature=2.0)
    total = sum(math.ceil(size / 8) for size in SIZES.values())  # 3 + 12 + 6 + 5
    for record in records:
        assert len(record["joint_order"]) == round(0.4 * total)
        assert record["fork_steps"] == {"rte": 2, "mnli": 7, "cola": 4, "stsb": 3}
    assert records[0]["joint_order"] != sorted(records[0]["joint_order"])
    if sampling == "proportional":
        assert {t: records[0]["joint_order"].count(t) for t in SIZES} == {"rte": 1, "mnli": 5, "cola": 2, "stsb": 2}


@pytest.mark.parametrize("sampling", ["uniform", "weights"])
def test_the_joint_phase_equals_torch_sgd_with_a_momentum_of_its_own(sampling):
    records = run(joint_fraction=0.4, task_sampling=sampling, lr_schedule="linear")
    model, train, _ = toy()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9, weight_decay=0.01)
    total = 10 + 16  # joint and fork steps of an epoch
    for e, record in enumerate(records):
        if e > 0:
            model.load_state_dict(records[e - 1]["theta"])
        taken = dict.fromkeys(SIZES, 0)
        for i, t in enumerate(record["joint_order"]):
            generator = torch.Generator().manual_seed(derive_seed(7, e, t, "rows"))
            rows = (torch.randperm(SIZES[t], generator=generator).tolist() * 4)[taken[t] * 8 : taken[t] * 8 + 8]
            taken[t] += 1
            optimizer.param_groups[0]["lr"] = 0.1 * (1 - (total * e + i) / (3 * total))
            optimizer.zero_grad()
            weight = 1.0 if sampling == "weights" else record["task_weights_used"][t]
            (weight * model(t, **take(train[t], rows))["loss"]).backward()
            optimizer.step()
        assert difference({name: p.detach() for name, p in model.named_parameters()}, record["theta0"]) < 1e-12


def test_meta_batches_and_alpha_steps():
    """15 of 40 meta rows a step: two to a permutation, the last 10 discarded; sgd and adam on α redone by hand."""
    model, _, meta = toy()
    for optimizer in ("sgd", "adam"):
        scale = 0.0
        for e, record in enumerate(run(alpha_batch_size=15, alpha_optimizer=optimizer)):
            generator = torch.Generator().manual_seed(derive_seed(7, e, "rte", "meta"))
            perms = [torch.randperm(40, generator=generator).tolist() for _ in range(3)]
            batches = [perms[s // 2][s % 2 * 15 : s % 2 * 15 + 15] for s in range(5)]
            for alpha, value, rows in zip(
                record["alpha_trace"], record["meta_loss"], [*batches, batches[-1]], strict=True
            ):
                merged = merge(record["theta0"], record["delta"], alpha, "all")
                assert float(loss_of(model, merged, "rte", take(meta, rows))) == pytest.approx(value, abs=1e-12)
            first, second = (dict.fromkeys(SIZES, 0.0) for _ in range(2))
            for s, grads in enumerate(record["alpha_grads"]):
                if s == 0:
                    scale = max(scale, math.sqrt(sum(g * g for g in grads.values())))
                for t, g in grads.items():
                    first[t] = 0.9 * first[t] + 0.1 * g
                    second[t] = 0.999 * second[t] + 0.001 * g * g
                    ratio = first[t] / (1 - 0.9 ** (s + 1)) / (math.sqrt(second[t] / (1 - 0.999 ** (s + 1))) + 1e-8)
                    step = 0.1 * (g / scale if optimizer == "sgd" else ratio)
                    assert record["alpha_trace"][s + 1][t] == pytest.approx(record["alpha_trace"][s][t] - step)


def test_forks_go_on_where_the_joint_phase_stopped():
    """One task: δ of the fork is that of rows after the joint phase's, from θ0 after the joint phase."""
    model, train, meta = toy()
    record = straight_line_avil(
        model, {"rte": train["rte"]}, meta, "rte", **(BASE | {"epochs": 1, "momentum": 0.0, "joint_fraction": 0.67})
    )[0]
    assert record["joint_order"] == ["rte"] * 2
    assert record["fork_steps"] == {"rte": 1}
    rows = torch.randperm(24, generator=torch.Generator().manual_seed(derive_seed(7, 0, "rte", "rows"))).tolist()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.01)
    for i in range(3):
        if i == 2:
            theta0 = {name: p.detach().clone() for name, p in model.named_parameters()}
            assert difference({n: theta0[n] for n in record["theta0"]}, record["theta0"]) < 1e-12
        optimizer.zero_grad()
        model("rte", **take(train["rte"], rows[i * 8 : i * 8 + 8]))["loss"].backward()
        optimizer.step()
    assert difference({n: p.detach() - theta0[n] for n, p in model.named_parameters()}, record["delta"]["rte"]) < 1e-12


def test_the_meta_loss_falls_and_random_labels_lose_weight():
    sizes = {"target": 40, "related": 160, "random": 80}
    train, meta = toy_tasks(sizes, 3, target="target", meta_rows=80, random_labels=("random",))
    changes = {"epochs": 4, "alpha_batch_size": 80, "alpha_steps": 10, "momentum": 0.0}
    records = straight_line_avil(ToyModel(dict.fromkeys(sizes, 2)), train, meta, "target", **(BASE | changes))
    for record in records:
        losses = record["meta_loss"]
        assert all(later < earlier for earlier, later in itertools.pairwise(losses))
        assert len(losses) == len(record["alpha_trace"]) == 11
        assert record["judge"] == pytest.approx((losses[0], losses[-1]), abs=1e-12)
        assert not record["fallback"]
    assert records[-1]["meta_loss"][-1] < records[0]["meta_loss"][0] < math.log(2) * 1.5
    assert records[-1]["task_weights"]["random"] == min(records[-1]["task_weights"].values())


def test_a_worse_alpha_falls_back():
    for record in run(alpha_learning_rate=1e4):
        assert record["fallback"]
        assert record["judge"][1] > record["judge"][0]
        assert record["alpha"] == dict.fromkeys(SIZES, 1.0)
        assert record["alpha_trace"][-1] != record["alpha"]
        assert record["task_weights"] == record["task_weights_used"]
        merged = merge(record["theta0"], record["delta"], record["alpha"], "all")
        assert difference(merged, record["theta"]) == 0


def test_weights():
    records = run(alpha_learning_rate=2.0, alpha_steps=2, max_task_weight=1.5, alpha_init=0.5)
    for record in records:
        for t in SIZES:
            raw = record["task_weights_used"][t] + record["alpha"][t] / 0.5 - 1
            assert record["task_weights"][t] == pytest.approx(min(1.5, max(0.1, raw)), abs=1e-12)
    for record in run(normalize_task_weights="all"):
        assert sum(record["task_weights"].values()) == pytest.approx(4)


def test_a_task_at_weight_zero_skips_its_phase():
    records = run(min_task_weight=0.0, alpha_learning_rate=1.2, alpha_steps=1)
    zeros = [(record, t) for record in records for t in SIZES if record["task_weights_used"][t] == 0]
    assert zeros
    for record, t in zeros:
        assert all(not d.any() for d in record["delta"][t].values())
        assert record["alpha_grads"][0][t] == 0
        assert record["alpha"][t] == 1.0


def test_encoder_alpha_leaves_the_heads_at_one():
    for record in run(alpha_applies_to="encoder", alpha_init="mean"):
        assert record["alpha_trace"][0] == dict.fromkeys(SIZES, 0.25)
        for name, p in record["theta"].items():
            encoder = name.startswith("encoder.")
            moved = sum((record["alpha"][t] if encoder else 1.0) * record["delta"][t][name] for t in SIZES)
            assert difference(p, record["theta0"][name] + moved) < 1e-12


def test_a_weight_on_the_learning_rate_equals_one_on_the_loss_for_plain_sgd():
    plain = {"momentum": 0.0, "weight_decay": 0.0, "max_grad_norm": 0.3}
    assert difference(run(**plain), run(**plain, weight_applies_to="learning_rate")) < 1e-12
    assert difference(run(), run(weight_applies_to="learning_rate")) > 1e-4


def test_schedule():
    assert [schedule_factor(x, 10, "linear", 2) for x in (0, 1, 1.5, 2, 6, 10, 11)] == [0, 0.5, 0.75, 1, 0.5, 0, 0]
    assert schedule_factor(9, 10, "linear", 0) == 0.1
    assert schedule_factor(3, 10, "constant", 5) == 1


def test_the_model_is_left_alone_and_one_row_is_enough():
    model, train, meta = toy()
    before = copy.deepcopy(model.state_dict())
    train["cola"] = ToyDataset(train["cola"].x[:1], train["cola"].labels[:1])
    records = straight_line_avil(model, train, meta, "rte", **(BASE | {"delta_fraction": 0.3, "max_phase_steps": 2}))
    assert difference(before, dict(model.state_dict())) == 0
    assert records[0]["fork_steps"] == {"rte": 1, "mnli": 2, "cola": 1, "stsb": 2}
