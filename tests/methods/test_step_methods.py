"""Every step-wise method equals an independent straight-line computation; TorchJD's, the library called directly."""

from functools import cache

import pytest
import torch

import reference.straight_steps as straight
from hf_alphavil.methods import METHODS, StepMethod
from support.forking import fork_runs
from support.step_cases import CASES, REPRESENTED, settings_of
from support.toy_run import TARGET, run_toy, toy_data, toy_model

# Solvers stop at their tolerances; finite differences have a relative error of ε².
TOLERANCES = {"nashmtl": 1e-4, "cagrad": 1e-5, "fairgrad": 1e-5, "auxilearn": 1e-5}


# On several processes they differ from PCGrad, Nash-MTL and FAMO in the library's call alone.
MORE = (
    *REPRESENTED, "gradvac", "upgrad", "pcd", "uw", "dwa", "ol_aux", "target_pcgrad", "hydalearn", "pcgrad", "nashmtl",
)  # fmt: skip


@cache
def reference(case, **more):
    train, meta = toy_data()
    settings = {"epochs": 3, "learning_rate": 0.1, "per_step_rows": 8, "data_seed": 42}
    return straight.straight_steps(toy_model(), train, meta, TARGET, CASES[case][1](), **(settings | more))


def assert_equals_reference(run, records, tolerance):
    assert len(run["history"]) == len(records)
    for entry, epoch, record in zip(run["history"], run["epochs"], records, strict=True):
        assert entry["task_weights"] == pytest.approx(record["weights"], rel=tolerance, abs=tolerance)
        assert entry["task_weights_used"] == entry["task_weights"]
        for name, parameter in record["theta"].items():
            torch.testing.assert_close(epoch["theta"][name], parameter, rtol=tolerance, atol=tolerance)


def test_every_step_method_is_here():
    step_methods = {name for name, method in METHODS.items() if issubclass(method, StepMethod)}
    assert {case.split("-")[0] for case in CASES} == step_methods


@pytest.mark.parametrize("case", CASES)
def test_equals_the_straight_line(case, tmp_path):
    run = run_toy(tmp_path, **settings_of(case))
    records = reference(case)
    assert_equals_reference(run, records, TOLERANCES.get(case, 1e-8))
    if case not in ("mt_tartan", "dwa"):  # what the method does shows in the parameters
        plain = reference("mt_tartan")
        assert not torch.allclose(
            records[-1]["theta"]["encoder.0.weight"], plain[-1]["theta"]["encoder.0.weight"], atol=1e-3
        )


@pytest.mark.parametrize("case", ["meta_tartan", "hydalearn", "auxilearn", "auto_lambda"])
def test_every_step_draws_new_held_out_rows(case, tmp_path):
    run = run_toy(tmp_path, **settings_of(case, alpha_batch_size=16))
    assert_equals_reference(run, reference(case, meta_rows=16), TOLERANCES.get(case, 1e-8))


@pytest.mark.parametrize("case", ["target_pcgrad", "famo", "auxilearn", "cagrad"])
def test_accumulation_changes_nothing(case, tmp_path):
    accumulated = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}
    run = run_toy(tmp_path, **settings_of(case, **accumulated))
    assert_equals_reference(run, reference(case), TOLERANCES.get(case, 1e-8))


@pytest.mark.parametrize("case", ["gcs", "stch"])
def test_order_of_tasks_changes_nothing(case, tmp_path):
    one = run_toy(tmp_path / "1", order=["a", "b", "c"], **settings_of(case))
    other = run_toy(tmp_path / "2", order=["c", "b", "a"], **settings_of(case))
    for name, tensor in one["state"].items():
        assert torch.equal(tensor, other["state"][name])


@pytest.mark.distributed
@pytest.mark.parametrize(
    ("cases", "epochs"),
    [([case for case in CASES if case not in MORE], 2), pytest.param(MORE, 1, marks=pytest.mark.slow)],
    ids=["representative", "represented"],
)
def test_two_processes_equal_one(cases, epochs, tmp_path):
    half = {"per_device_train_batch_size": 4, "num_train_epochs": epochs}
    runs = [{"output_dir": str(tmp_path / case), **settings_of(case, **half)} for case in cases]
    for case, run in zip(cases, fork_runs(run_toy, runs, "ddp", 2), strict=True):
        assert len(set(run["rank_checksum"])) == 1, case
        assert_equals_reference(run, reference(case, epochs=epochs), max(1e-6, TOLERANCES.get(case, 0.0)))
