"""The cosines between the tasks' deltas, against torch on the deltas that a run leaves."""

import math
from itertools import combinations

import pytest
import torch

from hf_alphavil.checkpointing.run_state import load_run_state
from hf_alphavil.methods.delta_cosines import delta_cosines
from methods.test_delta_storage import bank_of_two
from support.small_net import Net
from support.toy_run import SIZES, run_toy


def cosines_of(deltas):
    """By pair of phases, over the parameters that both have moved."""
    expected = {}
    for one, other in combinations(sorted(deltas), 2):
        both = [name for name in deltas[one] if deltas[one][name].any() and deltas[other][name].any()]
        vectors = [torch.cat([deltas[phase][name].flatten().double() for name in both]) for phase in (one, other)]
        expected[one, other] = torch.cosine_similarity(*vectors, dim=0).item()
    return expected


def pairs(cosines):
    return {(one, other): value for one, of_one in cosines.items() for other, value in of_one.items()}


@pytest.mark.parametrize("settings", [{"rounds_per_epoch": 2, "final_target_epochs": 1}, {"method": "probed_mixture"}])
def test_the_history_has_the_cosine_of_every_pair_of_tasks(settings, tmp_path):
    run = run_toy(tmp_path, **settings)
    *forked, last = [pairs(entry.get("delta_cosine", {})) for entry in run["history"]]
    for entry, snapshot in zip(forked, run["epochs"], strict=False):
        assert set(entry) == set(combinations(sorted(SIZES), 2))
        assert entry == pytest.approx(cosines_of(snapshot["delta"]))
    assert last == {}  # an epoch without forks


def test_forks_that_mix_tasks_are_not_compared(tmp_path):
    assert not any("delta_cosine" in entry for entry in run_toy(tmp_path, method="forkmerge")["history"])


def test_a_round_that_was_merged_before_the_plan_ended_counts(tmp_path):
    whole = run_toy(tmp_path, num_train_epochs=1, target_phase="last", save_strategy="steps", save_steps=1)
    (entry,) = whole["history"]
    assert set(pairs(entry["delta_cosine"])) == {("b", "c")}
    (*_, last) = sorted(tmp_path.glob("checkpoint-*"), key=lambda folder: int(folder.name.split("-")[1]))[:-1]
    assert load_run_state(last)["delta_cosines"] == entry["delta_cosine"]
    resumed = run_toy(
        tmp_path / "resumed", last, num_train_epochs=1, target_phase="last", save_strategy="steps", save_steps=1000
    )
    assert resumed["history"] == whole["history"]


@pytest.mark.parametrize("settings", [{}, {"dtype": "bfloat16"}, {"device": "cpu"}])
def test_deltas_are_compared_wherever_they_are_kept(settings):
    bank, _, _ = bank_of_two(Net(), **settings)
    stored = {phase: bank.delta(phase) for phase in bank.phases}
    assert pairs(delta_cosines(bank.gramians(), bank.phases)) == pytest.approx(cosines_of(stored), abs=1e-6)


def test_tasks_without_a_common_parameter_have_no_angle():
    gramians = torch.zeros(2, 2, 2, dtype=torch.float64)
    gramians[0, 0, 0], gramians[1, 1, 1] = 4.0, 9.0
    assert delta_cosines(gramians, ["a", "b"]) == {"a": {"b": 0.0}}
    gramians[0] = math.nan
    assert math.isnan(delta_cosines(gramians, ["a", "b"])["a"]["b"])
