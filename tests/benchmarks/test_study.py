"""Studies: which runs a preset defines, which of them are executed, and how methods are compared."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

import study
from hf_alphavil.comparing.run_options import Share
from hf_alphavil.comparing.versions import versions
from study import execute_study, id_of, read_results, specs_of, study_parser
from study_summary import mean_difference, paired_differences, plot_differences, summary

PRESETS = Path(__file__).parents[2] / "benchmarks" / "presets"
PRESET = {
    "rows": {"rte": [9], "stsb": [9, 12]},
    "auxiliary_rows": 5,
    "test_rows": 20,
    "suites": ["mixed"],
    "seeds": [0, 1],
    "settings": {"learning_rate": 0.1},
    "methods": {"multitask": {"method": "multitask"}, "other": {"method": "stilts", "learning_rate": 0.2}},
}


@pytest.mark.parametrize("preset", sorted(PRESETS.glob("[lt]*/*.yaml")), ids=lambda path: path.stem)
def test_presets_define_distinct_runs(preset):
    specs = list(specs_of(yaml.safe_load(preset.read_text())))
    assert len({id_of(spec) for spec in specs}) == len(specs) > 0
    assert [spec["seed"] for spec in specs] == sorted(spec["seed"] for spec in specs)


def test_each_auxiliary_is_left_out_for_every_training_seed():
    preset = PRESET | {"training_seeds": [7, 8], "leave_one_out": True}
    specs = list(specs_of(preset))
    assert len(specs) == len({id_of(spec) for spec in specs}) == 2 * 3 * 2 * 2 * (1 + 3)
    assert [spec.get("without") for spec in specs[:4]] == [None, "more", "unrelated", "shuffled"]
    plain = [{key: spec[key] for key in spec if key != "training_seed"} for spec in specs if "without" not in spec]
    assert {id_of(spec) for spec in plain} == {id_of(spec) for spec in specs_of(PRESET)}


@pytest.mark.parametrize("changes", [{"suites": ["natural"]}, {"methods": {"alone": {"method": "single"}}}])
def test_only_known_auxiliaries_that_are_trained_are_left_out(changes):
    with pytest.raises(SystemExit, match="leave_one_out: "):
        list(specs_of(PRESET | {"leave_one_out": True} | changes))


def test_report_shares_no_problem_with_development():
    """Neither a seed nor, for two targets, the task was seen when settings were chosen."""
    development, first, report = (
        list(specs_of(yaml.safe_load((PRESETS / "testbed" / f"{name}.yaml").read_text())))
        for name in ("development", "first", "report")
    )
    seen = development + first
    assert not {spec["seed"] for spec in seen} & {spec["seed"] for spec in report}
    assert {spec["target"] for spec in report} - {spec["target"] for spec in seen} == {"rte", "cola"}


def score(spec):
    return {
        "score": spec["rows"] / 100 + spec["settings"]["learning_rate"] + spec["seed"] / 10,
        "seconds": 2.0,
        "steps": 4,
    }


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """Executes the preset in threads instead of processes."""
    monkeypatch.setattr(study, "ProcessPoolExecutor", lambda jobs, mp_context: ThreadPoolExecutor(jobs))
    (tmp_path / "preset.yaml").write_text(yaml.safe_dump(PRESET))

    def execute(run=score, *options, output="results.jsonl"):
        command = [str(tmp_path / "preset.yaml"), "--output", str(tmp_path / output), *options]
        return execute_study(study_parser("Compares.").parse_args(command), run)

    return execute


def test_runs_that_fail_or_are_cut_off_are_repeated_and_no_others(tmp_path, execute, capsys):
    executed = []

    def fails_once(spec):
        executed.append(id_of(spec))
        if len(executed) == 3:
            raise OSError("full")
        return score(spec)

    assert execute(fails_once) == 1
    assert "0 runs left, 1 failed" in capsys.readouterr().err
    path, ids = tmp_path / "results.jsonl", [id_of(spec) for spec in specs_of(PRESET)]
    assert executed == ids
    assert list(read_results(path)) == [*ids[:2], *ids[3:]]
    path.write_text(path.read_text()[:-9])  # killed while it wrote the last line
    executed.clear()
    executed += ["", "", ""]
    assert execute(fails_once) == 0
    assert sorted(executed[3:]) == sorted([ids[2], ids[-1]])
    assert sorted(read_results(path)) == sorted(ids)
    assert all(result["versions"] == versions() for result in read_results(path).values())
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == list(read_results(path))


def test_shards_join(tmp_path, execute, capsys):
    execute()
    whole = capsys.readouterr().out
    for shard in ("0/2", "1/2"):
        assert execute(score, "--shard", shard, output=f"{shard[0]}.jsonl") == 0
    parts = [read_results(tmp_path / f"{index}.jsonl") for index in (0, 1)]
    assert not set(parts[0]) & set(parts[1])
    joined = "".join((tmp_path / f"{index}.jsonl").read_text() for index in (0, 1))
    (tmp_path / "joined.jsonl").write_text(joined)
    assert read_results(tmp_path / "joined.jsonl") == read_results(tmp_path / "results.jsonl")
    capsys.readouterr()
    assert execute(pytest.fail, "--minutes", "0", output="joined.jsonl") == 0
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(whole.splitlines())


def test_no_run_starts_after_the_deadline(execute, capsys, tmp_path):
    assert execute(score, "--minutes", "0") == 0
    assert "12 runs left, 0 failed" in capsys.readouterr().err
    assert read_results(tmp_path / "results.jsonl") == {}


def test_jobs_run_at_the_same_time(execute):
    both = threading.Barrier(2, timeout=20)

    def waits_for_another(spec):
        both.wait()
        return score(spec)

    assert execute(waits_for_another, "--jobs", "2") == 0


def test_some_methods_alone(tmp_path, execute):
    assert execute(score, "--methods", "other") == 0
    results = read_results(tmp_path / "results.jsonl").values()
    assert [result["name"] for result in results] == ["other"] * 6
    with pytest.raises(SystemExit, match=r"has no absent, but multitask, other"):
        execute(score, "--methods", "other", "absent")


@pytest.mark.parametrize("shard", ["2/2", "-1/2", "0", "a/2", "0/0"])
def test_shards_that_do_not_exist_are_refused(shard, capsys):
    with pytest.raises(SystemExit):
        study_parser("").parse_args(["preset", "--output", "x", f"--shard={shard}"])
    assert "pass i/n" in capsys.readouterr().err


def test_every_run_belongs_to_one_shard():
    runs = list(range(11))
    assert sorted(run for index in range(3) for run in Share(index, 3).of(runs)) == runs


def test_methods_are_compared_on_equal_problems():
    results = [{**spec, "id": id_of(spec), **score(spec)} for spec in specs_of(PRESET)]
    del results[2]  # without multitask's score, the pair does not count
    differences = paired_differences(results, "other", "multitask")
    assert list(differences.values()) == pytest.approx([10] * 5)
    text = summary(results)
    assert "| stsb | 12 | mixed | 27.0 (2) | 37.0 (2) |" in text
    assert "| other | +10.0 [+10.0, +10.0] (4) | +10.0 of 5 |" in text
    assert "| multitask | 5 | 4 | 2.0 | – |" in text
    assert "| other | +10.0 (1) | +10.0 of 1 |" in summary(results[:2])


def test_problems_with_the_same_target_rows_count_as_one_draw():
    differences = {("rte", suite, rows, 300, 0): 1.0 for suite in ("mixed", "hostile") for rows in (150, 300)}
    differences |= {("rte", "mixed", 150, 300, 1): 3.0, ("cola", "mixed", 150, 300, 0): 5.0}
    estimate = mean_difference(differences)
    assert (estimate.mean, estimate.n) == (3.0, 3)
    reach = 4.302653 * 2 / 3**0.5  # Student's t of two degrees of freedom; 1, 3 and 5 deviate by 2
    assert (estimate.low, estimate.high) == pytest.approx((3 - reach, 3 + reach))


def test_verdicts_are_counted_by_task():
    def total(mean):
        return {"mean": mean, "standard_error": 0.01, "rows": 30}

    def result(suite, **gains):
        totals = {name: total(gain) for name, gain in gains.items()}
        entry = {"held_out_loss": 1.0, "contribution": totals, "total_contribution": totals}
        history = [{**entry, "epoch": epoch} for epoch in (1, 2, 3)]
        run = {"target": "rte", "suite": suite, "rows": 9, "auxiliary_rows": 5, "seed": 0}
        return {**run, "name": "alphavil", "score": 0.5, "steps": 1, "seconds": 1.0, "history": history}

    text = summary(
        [result("mixed", rte=1.0, more=0.1, shuffled=-0.1), result("hostile", shuffled=0.0, shuffled_too=0.1)]
    )
    assert "| alphavil | more | 1 | 1 | 0 | 0 | 0 |" in text
    assert "| alphavil | shuffled | 3 | 1 | 1 | 1 | 0 |" in text
    assert "| alphavil | rte " not in text


def test_what_each_auxiliary_gives():
    """Two draws of rows, each with three training seeds."""
    scores = {
        (0, None): (0.60, 0.70, 0.65),
        (0, "more"): (0.55, 0.66, 0.59),  # 5, 4, 6 points: 5 ± 2.5
        (0, "unrelated"): (0.64, 0.75, 0.71),  # −5 ± 2.5
        (1, None): (0.60, 0.70, 0.65),
        (1, "more"): (0.58, 0.72, 0.56),  # 2, −2, 9 points: the interval includes 0
        (1, "shuffled"): (0.5, 0.6),
    }
    results = [
        {
            "target": "rte", "suite": "mixed", "rows": 9, "auxiliary_rows": 5, "seed": draw, "training_seed": seed,
            "name": "alphavil", "score": score, "steps": 1, "seconds": 1.0,
        } | ({} if without is None else {"without": without})
        for (draw, without), of_seed in scores.items()
        for seed, score in enumerate(of_seed)
    ]  # fmt: skip
    text = summary(results)
    assert "| alphavil | rte | 9 | mixed | more | +4.0 [-8.7, +16.7] | 2 | 1 | 1 | 0 | 0 |" in text
    assert "| alphavil | rte | 9 | mixed | unrelated | -5.0 | 1 | 0 | 0 | 1 | 0 |" in text
    assert "| alphavil | rte | 9 | mixed | shuffled | +10.0 | 1 | 0 | 0 | 0 | 1 |" in text
    assert "| rte | 9 | mixed | 65.0 (6) |" in text
    assert "| alphavil | 6 | 1 | 1.0 | – |" in text
    # Without the runs that have all auxiliaries there is nothing to compare.
    assert "more" not in summary([result for result in results if "without" in result])
    other = [result | {"name": "multitask", "score": result["score"] - 0.1} for result in results]
    differences = paired_differences(results + other, "alphavil", "multitask")
    assert list(differences.values()) == pytest.approx([10] * 6)


def test_the_figure_is_drawn(tmp_path):
    results = [{**spec, "id": id_of(spec), **score(spec)} for spec in specs_of(PRESET)]
    plot_differences(results, tmp_path / "folder" / "differences.png")
    assert (tmp_path / "folder" / "differences.png").read_bytes()[:4] == b"\x89PNG"
