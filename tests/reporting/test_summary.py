"""The tables' exact text."""

import math

from hf_alphavil.reporting import CardScore, format_comparison_table, format_summary_table
from support.example_run import HISTORY, WITHOUT_ALPHA


def test_summary_table():
    assert format_summary_table("rte", "validation accuracy", 0.61234, HISTORY, "alphavil").splitlines() == [
        "rte: validation accuracy 0.6123  (method alphavil, epochs 2)",
        "",
        "task           alpha  weight",
        "------------  ------  ------",
        "rte (target)   1.250   1.750",
        "mrpc          -0.500   0.100",
    ]


def test_summary_table_puts_the_target_first():
    lines = format_summary_table("mrpc", "f1", 0.5, HISTORY, "alphavil").splitlines()
    assert [line.split()[0] for line in lines[4:]] == ["mrpc", "rte"]


def test_summary_table_counts_the_epochs_that_chose_a_task():
    chosen = [
        {**entry, "chosen_auxiliaries": names}
        for entry, names in zip(HISTORY, [["mrpc"], ["mrpc", "cb"]], strict=True)
    ]
    chosen[1]["task_weights"] = {"rte": 1.75, "mrpc": 0.1, "cb": 1.0, "copa": 1.0}
    lines = format_summary_table("rte", "accuracy", None, chosen, "alphavil").splitlines()
    assert lines[2:] == [
        "task          epochs   alpha  weight",
        "------------  ------  ------  ------",
        "rte (target)       -   1.250   1.750",
        "mrpc               2  -0.500   0.100",
        "cb                 1       -   1.000",
        "copa               0       -   1.000",
    ]
    kept_first = [{**entry, "kept": entry["epoch"] == 1} for entry in chosen]
    assert "mrpc               1" in format_summary_table("rte", "accuracy", None, kept_first, "alphavil")


def test_summary_table_without_alpha_or_score():
    assert format_summary_table("rte", "accuracy", None, WITHOUT_ALPHA, "multitask").splitlines() == [
        "rte: accuracy -  (method multitask, epochs 1)",
        "",
        "task          alpha  weight",
        "------------  -----  ------",
        "rte (target)      -   1.000",
        "mrpc              -   1.000",
    ]


def test_summary_table_before_the_first_epoch():
    lines = format_summary_table("rte", "accuracy", math.nan, [], "single").splitlines()
    assert lines[0] == "rte: accuracy nan  (method single, epochs 0)"
    assert lines[-1] == "rte (target)      -       -"


def test_a_score_no_better_than_the_majority_class_is_no_result():
    def lines(*scores):
        return format_summary_table("rte", "accuracy", 0.5, HISTORY, "alphavil", scores).splitlines()[1:3]

    of = {"task": "rte", "split": "validation", "rows": 100}
    majority = "always answering the most frequent label: accuracy 0.5300"
    no_better = (
        "better than the majority class: the target's validation accuracy is {} (95 % interval {}), and always "
        "answering its most frequent label scores 0.5300."
    )
    worse = CardScore(metric="accuracy", value=0.5, majority=0.53, **of)
    assert lines(worse) == [majority, "Not " + no_better.format("0.5000", "0.404 to 0.596")]
    unclear = CardScore(metric="accuracy", value=0.6, majority=0.53, **of)
    assert lines(unclear) == [majority, "Not clearly " + no_better.format("0.6000", "0.502 to 0.691")]
    assert lines(CardScore(metric="accuracy", value=0.7, majority=0.53, **of)) == [majority, ""]
    f1 = CardScore("rte", "validation", "f1", 0.75, majority=0.7)
    assert lines(f1, CardScore("mrpc", "validation", "f1", 0.1, majority=0.7))[0].endswith(": f1 0.7000")
    assert lines(CardScore("rte", "validation", "f1", 0.75))[0] == ""


def test_comparison_table():
    alone = [{**WITHOUT_ALPHA[0], "task_weights_used": {"rte": 1.0}, "task_weights": {"rte": 1.0}}]
    runs = {"single": (0.5, alone), "multitask": (0.55555, WITHOUT_ALPHA), "alphavil": (0.75, HISTORY)}
    assert format_comparison_table("rte", "test accuracy", runs).splitlines() == [
        "method     rte test accuracy  w(rte)  w(mrpc)",
        "---------  -----------------  ------  -------",
        "single                0.5000   1.000        -",
        "multitask             0.5555   1.000    1.000",
        "alphavil              0.7500   1.750    0.100",
    ]


def test_epochs_that_fit_no_alpha_leave_the_last_one_that_did():
    last = {**HISTORY[-1], "epoch": HISTORY[-1]["epoch"] + 1, "alpha": {}}
    table = format_summary_table("rte", "accuracy", 0.9, [*HISTORY, last], "alphavil")
    fitted = format_summary_table("rte", "accuracy", 0.9, HISTORY, "alphavil")
    assert f"alpha (epoch {HISTORY[-1]['epoch']})" in table
    assert [line.split()[-2:] for line in table.splitlines()[4:]] == [
        line.split()[-2:] for line in fitted.splitlines()[4:]
    ]
    kept = [{**entry, "kept": entry["epoch"] == HISTORY[0]["epoch"]} for entry in [*HISTORY, last]]
    assert f"{HISTORY[0]['alpha']['rte']:.3f}" in format_summary_table("rte", "accuracy", 0.9, kept, "alphavil")
