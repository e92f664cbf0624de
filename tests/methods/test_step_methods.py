"""Every step-wise method equals an independent straight-line computation; TorchJD's, the library called directly."""

import pytest
import straight_steps as straight
import torch
from launching import launch_runs
from toy_run import LABELS, TARGET, run_toy, toy_data, toy_model

from hf_alphavil.methods import METHODS, StepMethod

aggregation = pytest.importorskip("torchjd.aggregation", reason="the extra `methods` is not installed")
scalarization = pytest.importorskip("torchjd.scalarization")

T = len(LABELS)
# By method: options that make it act within the toy's few steps, and a function that makes the straight-line rule.
CASES = {
    "mt_tartan": ({}, lambda: straight.mt_tartan),
    "meta_tartan": (
        {"weight_learning_rate": 0.3, "head_steps": 3, "head_learning_rate": 0.5},
        lambda: straight.MetaTartan(0.3, 3, 0.5),
    ),
    "arml": ({"interval": 3, "weight_learning_rate": 0.5}, lambda: straight.Arml(3, 0.5)),
    "gcs": ({}, lambda: straight.gcs(weighted=False)),
    "gcs-weighted": ({"weighted": True}, lambda: straight.gcs(weighted=True)),
    "ol_aux": ({"interval": 3, "weight_learning_rate": 0.4}, lambda: straight.OlAux(3, 0.4)),
    "target_pcgrad": ({}, lambda: straight.target_pcgrad),
    "hydalearn": ({}, lambda: straight.hydalearn),
    "auxilearn": (
        {"interval": 3, "weight_learning_rate": 0.3, "neumann_learning_rate": 0.1},
        lambda: straight.AuxiLearn(3, 0.3, 0.9, 3, 0.1),
    ),
    "auto_lambda": ({"weight_learning_rate": 0.05, "initial": 0.5}, lambda: straight.AutoLambda(0.05, 0.5)),
    "gradnorm": ({"weight_learning_rate": 0.05}, lambda: straight.GradNorm(1.5, 0.05, "encoder.2.weight")),
    "pcgrad": ({}, lambda: straight.by_aggregator(aggregation.PCGrad())),
    "gradvac": ({"beta": 0.3}, lambda: straight.by_aggregator(aggregation.GradVac(beta=0.3))),
    "cagrad": ({"c": 0.7}, lambda: straight.by_aggregator(aggregation.CAGrad(c=0.7))),
    "nashmtl": ({}, lambda: straight.by_aggregator(aggregation.NashMTL(n_tasks=T))),
    "mgda": ({}, lambda: straight.by_aggregator(aggregation.MGDA())),
    "imtl": ({}, lambda: straight.by_aggregator(aggregation.IMTLG())),
    "aligned_mtl": ({}, lambda: straight.by_aggregator(aggregation.AlignedMTL())),
    "fairgrad": ({}, lambda: straight.by_aggregator(aggregation.FairGrad(alpha=1.0))),
    "upgrad": ({}, lambda: straight.by_aggregator(aggregation.UPGrad())),
    "pcd": ({"tau": 0.3}, lambda: straight.by_aggregator(aggregation.PCD(tau=0.3))),
    "uw": ({"weight_learning_rate": 0.1}, lambda: straight.ByScalarizer(scalarization.UW(T), 0.1)),
    "dwa": ({}, lambda: straight.ByScalarizer(scalarization.DWA())),
    "famo": ({"lr": 0.1}, lambda: straight.ByScalarizer(scalarization.FAMO(T, lr=0.1))),
    "stch": ({"mu": 0.5}, lambda: straight.ByScalarizer(scalarization.STCH(mu=0.5))),
    "rlw": ({}, lambda: straight.ByScalarizer(scalarization.Random())),
}
# Solvers stop at tolerances of their own; finite differences have a relative error of ε².
TOLERANCES = {"nashmtl": 1e-4, "cagrad": 1e-5, "fairgrad": 1e-5, "auxilearn": 1e-5}


def settings_of(case, **more):
    name = case.split("-")[0]
    return {"method": name, "method_kwargs": CASES[case][0], **more}


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
def test_held_out_rows_are_drawn_anew_for_every_step(case, tmp_path):
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


@pytest.mark.slow
@pytest.mark.distributed
def test_two_processes_equal_one(tmp_path):
    runs = [{"output_dir": str(tmp_path / case), **settings_of(case, per_device_train_batch_size=4)} for case in CASES]
    for case, run in zip(CASES, launch_runs("toy_run.py", runs, tmp_path), strict=True):
        assert len(set(run["rank_checksum"])) == 1, case
        assert_equals_reference(run, reference(case), max(1e-6, TOLERANCES.get(case, 0.0)))
