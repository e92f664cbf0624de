"""Step-wise methods: the options of a toy run, and the straight-line rule."""

import pytest

import reference.straight_steps as straight
from support.toy_run import LABELS

# Test modules that import this one are skipped without the extra.
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

# Neither state nor random draws, and the same code as another case but for the library's call or an option: for runs
# that resume and for several processes, `gcs`, `upgrad` and `rlw` stand for them.
REPRESENTED = ("gcs-weighted", "cagrad", "mgda", "imtl", "aligned_mtl", "fairgrad", "stch")


def settings_of(case, **more):
    name = case.split("-")[0]
    return {"method": name, "method_kwargs": CASES[case][0], **more}
