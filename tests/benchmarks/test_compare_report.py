"""Intervals, tables and plots, compared with independently computed numbers."""

import itertools
import math

import numpy as np
import pytest

from hf_alphavil.comparing import plots
from hf_alphavil.comparing.comparison import Comparison, Data, MethodEntry
from hf_alphavil.comparing.estimates import mean_estimate, paired_estimate
from hf_alphavil.comparing.left_out import verdict_of
from hf_alphavil.comparing.plots import plot_auxiliaries, plot_differences, plot_scores
from hf_alphavil.comparing.report import format_report
from hf_alphavil.comparing.results import Results

#: Quantiles of Student's t at 0.975 for 1, 2 and 4 degrees of freedom, from a printed table.
T = {1: 12.706, 2: 4.303, 4: 2.776}


@pytest.mark.parametrize("scores", [[50.0, 60.0], [60.0, 62.0, 67.0], [1.0, 2.0, 4.0, 8.0, 16.0]])
def test_interval_over_seeds(scores):
    estimate = mean_estimate(scores)
    n = len(scores)
    mean = sum(scores) / n
    deviation = math.sqrt(sum((score - mean) ** 2 for score in scores) / (n - 1))
    reach = T[n - 1] * deviation / math.sqrt(n)
    assert (estimate.mean, estimate.n) == (pytest.approx(mean), n)
    assert estimate.low == pytest.approx(mean - reach, rel=1e-3)
    assert estimate.high == pytest.approx(mean + reach, rel=1e-3)


def test_bootstrap_of_three_pairs():
    """There are 27 resamples. An extreme one has probability 1/27 > 0.025, so the interval covers the whole range."""
    ours, baseline = [61.0, 70.0, 65.0], [60.0, 65.0, 66.0]
    means = sorted(np.mean(draw) for draw in itertools.product([1.0, 5.0, -1.0], repeat=3))
    estimate = paired_estimate(ours, baseline)
    assert estimate.mean == pytest.approx(5 / 3)
    assert (estimate.low, estimate.high) == (pytest.approx(means[0]), pytest.approx(means[-1]))


def test_bootstrap_of_many_pairs():
    rng = np.random.default_rng(7)
    baseline = rng.normal(60, 10, 40)
    ours = baseline + rng.normal(1, 3, 40)
    draws = np.array([(ours - baseline)[rng.integers(40, size=40)].mean() for _ in range(20000)])
    estimate = paired_estimate(ours, baseline)
    assert estimate.low == pytest.approx(np.quantile(draws, 0.025), abs=0.05)
    assert estimate.high == pytest.approx(np.quantile(draws, 0.975), abs=0.05)
    # Pairing makes the interval narrow: the scores vary ten times as much as their differences.
    assert estimate.high - estimate.low < 3


def test_few_or_equal_values():
    for estimate in (mean_estimate([3.0]), paired_estimate([5.0], [2.0])):
        assert (estimate.mean, estimate.n) == (3.0, 1)
        assert math.isnan(estimate.low)
        assert math.isnan(estimate.high)
    assert math.isnan(mean_estimate([]).mean)
    for estimate in (mean_estimate([3.0, 3.0]), paired_estimate([5.0, 4.0], [2.0, 1.0])):
        assert (estimate.mean, estimate.low, estimate.high, estimate.n) == (3.0, 3.0, 3.0, 2)
    assert paired_estimate([5.0, 4.0], [2.0, 2.0]) == paired_estimate([5.0, 4.0], [2.0, 2.0])


VERSIONS = {"python": "3.11", "torch": "2.13", "commit": None}


def result(name, target, seed, score, **changes):
    return {
        "name": name, "target": target, "seed": seed, "score": score, "metric": "accuracy",
        "greater_is_better": True, "examples": 1000, "steps": 50, "seconds": 10.0, "peak_memory": 2_000_000_000,
        "peak_gpu_memory": None, "rows": {"meta": 30}, "versions": VERSIONS, "device": "cpu",
    } | changes  # fmt: skip


@pytest.fixture
def results():
    comparison = Comparison(
        methods=[MethodEntry(name, name) for name in ("worse", "multitask", "better", "alone", "absent")],
        targets=["rte", "cb"],
        seeds=[0, 1, 2],
        baseline="multitask",
        settings={},
        data=Data(tasks=["rte", "cb"]),
    )
    scores = {
        "multitask": {"rte": [0.60, 0.65, 0.66], "cb": [0.70, 0.80, 0.75]},
        "better": {"rte": [0.61, 0.70, 0.65], "cb": [0.80, 0.85, 0.76]},
        "worse": {"rte": [0.50, 0.51], "cb": [0.60]},
    }
    runs = [
        result(name, target, seed, score)
        for name, of_target in scores.items()
        for target, of_seed in of_target.items()
        for seed, score in enumerate(of_seed)
    ]
    runs.append(result("alone", "rte", 2, 0.66, examples=500, peak_gpu_memory=3_000_000_000))
    return Results(comparison, runs)


def table_of(report, heading):
    lines = report.split(f"## {heading}")[1].split("\n## ")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return cells[0], {row[0]: row[1:] for row in cells[2:]}


def test_tables(results):
    report = format_report(results, "python compare", ["cb-worse-s1-abcd"])
    assert "16 of 30 runs are finished" in report
    assert "1 runs failed** and are missing below: cb-worse-s1-abcd" in report
    assert "```bash\npython compare\n```" in report
    header, scores = table_of(report, "Scores")
    assert header == ["method", "rte (accuracy)", "cb (accuracy)"]
    # The best difference comes first, a method without a pair comes last.
    assert list(scores) == ["better", "multitask (baseline)", "alone", "worse", "absent"]
    # rte: mean 63.667, deviation 3.2146, · 4.303 / √3 = 7.986
    assert scores["multitask (baseline)"] == ["63.7 ± 8.0", "75.0 ± 12.4"]
    assert scores["worse"] == ["50.5 ± 6.4", "60.0 ± –"]
    assert scores["alone"] == ["66.0 ± –", "–"]
    assert scores["absent"] == ["–", "–"]
    header, differences = table_of(report, "Paired differences to `multitask` (+ is better)")
    assert header == ["method", "pairs", "all targets", "rte", "cb"]
    assert list(differences) == ["better", "alone", "worse", "absent"]
    assert differences["better"][0] == "6"
    assert differences["better"][1].startswith("+3.5 [")  # 1, 5, -1, 10, 5, 1
    assert differences["better"][2] == "+1.7 [-1.0, +5.0]"
    # Only its own seeds are paired: 50 − 60, 51 − 65, 60 − 70.
    assert differences["worse"] == ["3", "-11.3 [-14.0, -10.0]", "-12.0 [-14.0, -10.0]", "-10.0 [–]"]
    assert differences["alone"] == ["1", "+0.0 [–]", "+0.0 [–]", "–"]
    assert differences["absent"] == ["0", "–", "–", "–"]
    _, costs = table_of(report, "Cost of the runs")
    assert costs["better"] == ["6", "1.000", "50", "10.0", "2.00", "–"]
    assert costs["alone"] == ["1", "0.500", "50", "10.0", "2.00", "3.00"]
    assert costs["absent"] == ["0", "–", "–", "–", "–", "–"]


@pytest.fixture
def left_out():
    comparison = Comparison(
        methods=[MethodEntry("alphavil", "alphavil")],
        targets=["rte"],
        seeds=[0, 1, 2],
        baseline="alphavil",
        settings={},
        data=Data(tasks=["rte", "gives", "takes", "unclear", "few", "equal", "nan", "nothing"]),
        leave_one_out=["alphavil"],
    )
    scores = {
        None: [0.60, 0.70, 0.65],
        "gives": [0.55, 0.66, 0.59],  # it gives 5, 4, 6
        "takes": [0.62, 0.71, 0.68],  # −2, −1, −3, and 2 · 4.303 · 1 / √3 reaches beyond 0
        "unclear": [0.50, 0.75, 0.65],
        "few": [0.50, 0.59],
        "equal": [0.60 - 1 / 277, 0.70 - 1 / 277, 0.65 - 1 / 277],  # one row of 277; their differences are rounded
        "nan": [0.50, 0.60, math.nan],
        "nothing": [0.60, 0.70, 0.65],
    }
    runs = [
        result("alphavil", "rte", seed, score, without=without)
        for without, of_seed in scores.items()
        for seed, score in enumerate(of_seed)
    ]
    del runs[0]["without"]  # written before auxiliaries could be left out
    return Results(comparison, runs)


def test_what_each_auxiliary_gives(left_out):
    report = format_report(left_out, "x", [])
    lines = report.split("## Which auxiliary helped")[1].split("\n## ")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| alphavil")]
    of = {row[2]: row[3:] for row in rows}
    # The deviation of 5, 4, 6 is 1: 4.303 / √3 = 2.484.
    assert of["gives"] == ["60.0 ± 13.8", "3", "+5.0 [+2.5, +7.5]", "helped"]
    assert of["takes"] == ["67.0 ± 11.4", "3", "-2.0 [-4.5, +0.5]", "no clear effect"]
    assert of["unclear"][1:] == ["3", "+1.7 [-17.3, +20.6]", "no clear effect"]
    assert of["few"][1:] == ["2", "+10.5 [+4.1, +16.9]", "too few seeds to tell"]
    assert of["equal"][1:] == ["3", "+0.4 [+0.4, +0.4]", "too few seeds to tell"]
    assert of["nan"][-1] == "too few seeds to tell"
    assert of["nothing"][1:] == ["3", "+0.0 [+0.0, +0.0]", "no clear effect"]
    assert list(of) == ["few", "gives", "unclear", "equal", "nothing", "takes", "nan"]
    # Runs without an auxiliary count nowhere else.
    _, scores = table_of(report, "Scores")
    assert scores == {"alphavil (baseline)": ["65.0 ± 12.4"]}
    _, costs = table_of(report, "Cost of the runs")
    assert costs["alphavil (baseline)"][0] == "3"


def test_an_auxiliary_that_takes(left_out):
    for run in left_out.runs:
        if run.get("without") == "takes":
            run["score"] += 0.02
    verdicts = {one.auxiliary: verdict_of(one.gives) for one in left_out.left_out()}
    assert verdicts["takes"] == "hurt"  # −4, −3, −5


ERROR = {"metric": "mean_absolute_error", "greater_is_better": False}


@pytest.fixture
def errors():
    """The scores of `score` are errors. `more` helps: without it, they are greater."""
    comparison = Comparison(
        methods=[MethodEntry(name, name) for name in ("worse", "multitask", "better")],
        targets=["score", "rte"],
        seeds=[0, 1, 2],
        baseline="multitask",
        settings={},
        data=Data(tasks=["score", "rte", "more", "noise"]),
        leave_one_out=["multitask"],
    )
    of_score = {
        ("multitask", None): [0.30, 0.40, 0.35],
        ("better", None): [0.25, 0.36, 0.29],  # 5, 4, 6 less
        ("worse", None): [0.50, 0.60, 0.55],
        ("multitask", "noise"): [0.26, 0.37, 0.30],  # noise adds 4, 3, 5
        ("multitask", "more"): [0.35, 0.44, 0.41],  # more takes away 5, 4, 6
    }
    runs = [
        result(name, "score", seed, score, without=without, **ERROR)
        for (name, without), of_seed in of_score.items()
        for seed, score in enumerate(of_seed)
    ]
    runs += [result("multitask", "rte", 0, 0.60), result("better", "rte", 0, 0.53)]
    return Results(comparison, runs)


def test_where_a_smaller_score_is_better(errors):
    report = format_report(errors, "x", [])
    header, scores = table_of(report, "Scores")
    assert header == ["method", "score (mean_absolute_error, smaller is better)", "rte (accuracy)"]
    assert list(scores) == ["better", "multitask (baseline)", "worse"]
    assert [cells[0].split(" ±")[0] for cells in scores.values()] == ["30.0", "35.0", "55.0"]
    _, differences = table_of(report, "Paired differences to `multitask` (+ is better)")
    # Over all targets: 5, 4 and 6, and −7 where a greater score is better.
    assert differences["better"][1].startswith("+2.0 [")
    assert differences["better"][2:] == ["+5.0 [+4.0, +6.0]", "-7.0 [–]"]
    assert differences["worse"] == ["3", "-20.0 [-20.0, -20.0]", "-20.0 [-20.0, -20.0]", "–"]


def test_what_an_auxiliary_gives_where_a_smaller_score_is_better(errors):
    report = format_report(errors, "x", [])
    lines = report.split("## Which auxiliary helped")[1].split("\n## ")[0].splitlines()
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line[:1] == "|"]
    assert header[-2:] == ["what it gives (+ is better)", "verdict"]
    # The deviations are 1: 4.303 / √3 = 2.484. Scores are 35, 44, 41 and 26, 37, 30 as they are.
    assert [row[2:] for row in rows if row[1] == "score" and row[2] in ("more", "noise")] == [
        ["more", "40.0 ± 11.4", "3", "+5.0 [+2.5, +7.5]", "helped"],
        ["noise", "31.0 ± 13.8", "3", "-4.0 [-6.5, -1.5]", "hurt"],
    ]


def test_plots_where_a_smaller_score_is_better(errors, tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(plots, "_save", lambda figure, path: figures.append(figure))
    for plot in (plot_differences, plot_auxiliaries, plot_scores):
        plot(errors, tmp_path / "plot.png")
    differences, auxiliaries, scores = ([*figure.axes] for figure in figures)
    for (panel,), first, label in (
        (differences, 2.0, "difference to multitask, points (+ is better)"),
        (auxiliaries, 5.0, "difference to the score without it, points (+ is better)"),
    ):
        dots = [line for line in panel.lines if line.get_marker() == "o"]
        assert dots[0].get_xdata() == pytest.approx([first])
        assert panel.get_xlabel() == label
        assert "blue: better, orange: worse" in panel.get_title(loc="left")
    assert dots[0].get_color() == plots.BETTER
    assert dots[1].get_color() == plots.WORSE
    labels = [panel.get_xlabel() for panel in scores]
    assert labels == ["mean_absolute_error, smaller is better, points", "accuracy, points"]
    assert scores[0].lines[0].get_xdata() == pytest.approx([25, 36, 29])


@pytest.mark.parametrize("rows", [277, 300, 408])
@pytest.mark.parametrize("difference", [0, 1, 2])
def test_equal_differences_are_no_evidence(rows, difference):
    """Seeds that differ by equally many rows differ by the rounding of scores alone."""
    for right in itertools.product(range(150, 200, 7), repeat=3):
        gives = mean_estimate([100 * ((one + difference) / rows) - 100 * (one / rows) for one in right])
        assert verdict_of(gives) == ("too few seeds to tell" if difference else "no clear effect")


def test_runs_of_different_versions_are_reported(results):
    assert "Produced by python 3.11, torch 2.13, cpu." in format_report(results, "x", [])
    results.runs.append(result("alone", "cb", 0, 0.5, versions=VERSIONS | {"torch": "2.14"}))
    report = format_report(results, "x", [])
    assert "**The runs were produced by different versions:**" in report
    assert "- python 3.11, torch 2.14, cpu" in report


def test_without_results(results):
    report = format_report(Results(results.comparison, []), "x", [])
    assert "0 of 30 runs are finished" in report
    assert "| multitask (baseline) | – | – |" in report


def test_without_the_baselines_results(results):
    without = Results(results.comparison, [run for run in results.runs if run["name"] != "multitask"])
    _, differences = table_of(format_report(without, "x", []), "Paired differences to `multitask`")
    assert all(cells == ["0", "–", "–", "–"] for cells in differences.values())


def test_plots(results, tmp_path):
    for name, plot in (("differences", plot_differences), ("scores", plot_scores)):
        plot(results, tmp_path / "plots" / f"{name}.png")
        assert (tmp_path / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        plot(Results(results.comparison, results.runs[-1:]), tmp_path / f"{name}_of_one.png")
    plot_auxiliaries(results, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
    # A single method has scores but no difference.
    assert not (tmp_path / "differences_of_one.png").exists()
    assert (tmp_path / "scores_of_one.png").exists()


def test_plot_of_auxiliaries(left_out, tmp_path):
    plot_auxiliaries(left_out, tmp_path / "auxiliaries.png")
    assert (tmp_path / "auxiliaries.png").read_bytes().startswith(b"\x89PNG")
