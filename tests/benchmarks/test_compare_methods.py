"""Complete comparisons on the demo suite: their output, and their restart after a kill or a failed run."""

import json
import multiprocessing
import os
import signal
import subprocess
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import psutil
import pytest
import torch
import yaml

from hf_alphavil import MultitaskTrainingArguments
from hf_alphavil.comparing import command, jobs
from hf_alphavil.comparing.comparison import Data, Run
from hf_alphavil.comparing.config import read_comparison
from hf_alphavil.comparing.data import load_data
from hf_alphavil.comparing.execute import BestModel, execute, training_args
from hf_alphavil.comparing.execute import main as execute_main
from hf_alphavil.comparing.folder import Folder
from hf_alphavil.comparing.steps import steps_without
from hf_alphavil.methods import METHODS
from support.driving import call_main
from support.forking import ROOT, SERVER, fork
from support.own_files import write_rows
from support.pages import write_named_files, write_stand_ins

CONFIG = {
    "suite": "demo",
    "tasks": ["target", "helpful", "noise"],
    "targets": ["target"],
    "seeds": [3],
    "max_train_samples": 100,
    "settings": {
        "num_train_epochs": 2,
        "learning_rate": 1e-3,
        "per_device_train_batch_size": 16,
        "per_device_eval_batch_size": 200,
        "max_length": 16,
    },
}


def arguments_of(folder, **changes):
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(CONFIG | changes), encoding="utf-8")
    return [str(config), "--output", str(folder / "out")]


class ForkedRun(multiprocessing.get_context("fork").Process):
    """A single run as a fork of the comparison, which has everything imported; it has what is used of `Popen`."""

    def __init__(self, job, environment):
        super().__init__(target=self.run_job, args=(job,))
        self.start()

    @staticmethod
    def run_job(job):
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        write_output_to(job.log)
        call_main(execute_main, job.command[2], job.command[3:])

    def poll(self):
        return self.exitcode

    def wait(self, timeout=None):
        self.join(timeout)
        if self.exitcode is None:
            raise subprocess.TimeoutExpired(self.name, timeout)


def compare(arguments, forks=True, output=None):
    """Body of the process of a comparison. Its runs are new processes, as a user's, or forks."""
    if output is not None:
        write_output_to(output)
    if forks:
        jobs._start = ForkedRun
    os.chdir(ROOT)
    call_main(command.main, "benchmarks/compare_methods.py", arguments)


def write_output_to(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(file, 1), os.dup2(file, 2)


def start(folder, forks=True, **changes):
    """Starts a comparison that a test may signal."""
    process = SERVER.Process(target=compare, args=(arguments_of(folder, **changes), forks, folder / "output.txt"))
    process.start()
    return process


def finish(folder, forks=True, **changes):
    """Lets the command run to its end; returns its exit status and output."""
    run = fork(compare, arguments_of(folder, **changes), forks)
    return run.returncode, run.stdout + run.stderr


def stop_after(process, folder, number, how):
    """
    Signals a comparison after `number` ended runs, during the next one, which must end with it.

    Returns the finished runs' files.
    """
    out = folder / "out"
    deadline = time.monotonic() + 300
    while len(finished(out)) + len(list(out.glob("failed/*"))) < number or not list((out / "running").glob("*.log")):
        assert process.exitcode is None, (folder / "output.txt").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    runs = psutil.Process(process.pid).children()
    assert runs
    os.kill(process.pid, how)
    process.join(60)
    deadline = time.monotonic() + 60
    while any(run.is_running() and run.status() != psutil.STATUS_ZOMBIE for run in runs):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return finished(out)


def finished(out):
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in (out / "runs").glob("*.json")}


def test_killed_and_restarted(tmp_path):
    """Killed, then stopped, then run to the end: runs that finished are not executed again."""
    out = tmp_path / "out"
    # The learning rate of the first one makes it diverge.
    bad = {"method": "multitask", "name": "diverging", "settings": {"learning_rate": 1.0e30, "max_grad_norm": 0.0}}
    joint = {"method": "alphavil", "name": "joint", "settings": {"joint_fraction": 0.5}}
    methods = ["multitask", bad, joint]
    first = stop_after(start(tmp_path, methods=methods), tmp_path, 1, signal.SIGKILL)
    assert list(first) == [next(out.glob("runs/target-multitask-s3-*.json")).name]

    process = start(tmp_path, methods=methods)
    second = stop_after(process, tmp_path, 2, signal.SIGTERM)
    assert process.exitcode == 128 + signal.SIGTERM
    assert second == first
    (log,) = (out / "failed").glob("*.log")
    assert log.name.startswith("target-diverging-s3-")
    log.write_text("old")

    status, output = finish(tmp_path, methods=methods)
    assert status == 1, output
    assert "3 runs, 1 of them already finished" in output
    # The failed run was tried again.
    assert "DivergenceError" in log.read_text(encoding="utf-8")
    assert f"failed: {log}" in output
    last = finished(out)
    assert second.items() <= last.items()
    assert len(last) == 2
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["name"] for line in lines] == ["multitask", "joint"]
    assert [line["id"] + ".json" for line in lines] == [next(n for n in last if line["name"] in n) for line in lines]
    for line in lines:
        assert line["command"].startswith("python -m hf_alphavil.comparing.execute ")
        assert line["command"].endswith(f"{line['id']}.json")
        assert line["versions"]["torch"] == torch.__version__
        assert (line["seed"], line["seconds"] > 0, line["peak_memory"] > 1e8) == (3, True, True)
        assert line["rows"]["validation"] == 200
    table = (out / "table.md").read_text(encoding="utf-8")
    assert table in output
    assert "| multitask (baseline) | " in table
    assert "2 of 3 runs are finished" in table
    assert f"**1 runs failed** and are missing below: {log.stem}" in table
    assert (out / "plots" / "differences.png").exists()
    assert (out / "plots" / "scores.png").exists()
    assert not any((out / "running").iterdir())
    # Other settings make other runs.
    config, *_ = arguments_of(tmp_path, settings=CONFIG["settings"] | {"weight_decay": 0.1}, methods=methods)
    assert Folder(out, read_comparison(Path(config))).finished == []


@pytest.mark.slow
def test_runs_in_new_processes(tmp_path):
    """As a user's. One ends with the comparison that is killed; after the next one, nothing is left to run."""
    methods = ["multitask"]
    assert not stop_after(start(tmp_path, forks=False, methods=methods), tmp_path, 0, signal.SIGKILL)
    status, output = finish(tmp_path, forks=False, methods=methods)
    assert status == 0, output
    done = finished(tmp_path / "out")
    assert len(done) == 1
    status, output = finish(tmp_path, forks=False, methods=methods)
    assert status == 0, output
    assert "1 runs, 1 of them already finished" in output
    assert finished(tmp_path / "out") == done


def write_tickets(folder, number):
    labels = ("question", "complaint")
    rows = [{"subject": f"w{n % 7}", "body": f"w{n % 5} w{n % 3}", "label": labels[n % 2]} for n in range(number)]
    write_rows(folder / "train.csv", rows)


def test_own_tasks_beside_those_of_glue(tmp_path, monkeypatch):
    """The page's comparison, with two methods and one epoch. Other rows or another definition make other runs."""
    write_stand_ins(tmp_path)
    write_named_files(ROOT / "docs" / "choosing.md", tmp_path)
    write_tickets(tmp_path, 80)
    changes = yaml.safe_load((tmp_path / "comparison.yaml").read_text(encoding="utf-8")) | {
        "suite": "glue",
        "model_name_or_path": str(tmp_path / "roberta-base"),
        "seeds": [3],
        "methods": ["multitask", "single"],
        "settings": CONFIG["settings"] | {"num_train_epochs": 1},
    }
    config = Path(arguments_of(tmp_path, **changes)[0])

    def folder():
        return Folder(tmp_path / "out", read_comparison(config))

    for run in folder().runs:
        monkeypatch.setattr("sys.argv", list(folder().job(run).command[2:5]))
        execute_main()
    results = [json.loads(result) for _, result in finished(tmp_path / "out").values()]
    assert {result["name"]: result["rows"]["train"]["rte"] for result in results} == {"multitask": 24, "single": 0}
    assert {(result["target"], result["rows"]["validation"]) for result in results} == {("tickets", 8)}

    definition = (tmp_path / "tasks.yaml").read_text(encoding="utf-8")
    for addition, number in (("  license: mit\n", 2), ("  metrics: [f1]\n", 0), ("  label_column: label\n", 2)):
        (tmp_path / "tasks.yaml").write_text(definition + addition, encoding="utf-8")
        assert len(folder().finished) == number, addition
    write_tickets(tmp_path, 82)
    assert not folder().finished


def test_a_target_whose_smaller_score_is_better(tmp_path, monkeypatch):
    """Files of versions that wrote no direction are finished runs, and mean the same."""
    write_stand_ins(tmp_path)
    rows = [{"text": f"w{n % 7} w{n % 5}", "label": (n % 7) / 7} for n in range(80)]
    write_rows(tmp_path / "rows.csv", rows)
    task = {"kind": "regression", "text_columns": ["text"], "metrics": ["mean_absolute_error"]}
    task |= {"files": {"splits": {"train": "rows.csv"}}, "validation_fraction": 0.1}
    (tmp_path / "tasks.yaml").write_text(yaml.safe_dump({"score": task, "more": task}), encoding="utf-8")
    changes = {
        "suite": "glue",
        "task_config": "tasks.yaml",
        "model_name_or_path": str(tmp_path / "roberta-base"),
        "tasks": ["score", "more"],
        "targets": ["score"],
        "methods": ["multitask", "single"],
        "settings": CONFIG["settings"] | {"use_cpu": True, "num_train_epochs": 3},
    }
    config = Path(arguments_of(tmp_path, **changes)[0])
    folder = Folder(tmp_path / "out", read_comparison(config))
    for run in folder.runs:
        monkeypatch.setattr("sys.argv", list(folder.job(run).command[2:5]))
        execute_main()
    files = [folder.result_file(run) for run in folder.finished]
    multitask, single = (json.loads(file.read_text(encoding="utf-8")) for file in files)
    for result in (multitask, single):
        assert (result["metric"], result["greater_is_better"]) == ("mean_absolute_error", False)
        assert result["selection_score"] == min(result["selection_scores"])
    less = 100 * (multitask["score"] - single["score"])
    assert less != 0
    assert folder.write_results().difference("single").mean == pytest.approx(less)
    del single["greater_is_better"]
    files[1].write_text(json.dumps(single), encoding="utf-8")
    again = Folder(tmp_path / "out", read_comparison(config))
    assert again.finished == folder.finished
    assert again.write_results().difference("single").mean == pytest.approx(less)
    lines = (tmp_path / "out" / "results.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["greater_is_better"] for line in lines] == [False, False]


def test_errors_come_before_any_run(tmp_path):
    status, output = finish(tmp_path, methods=["multitask"], selection_fraction=0.01)
    assert status == 2
    assert "error: the target 'target' is too small for selection_fraction=0.01" in output
    assert not (tmp_path / "out").exists()


RUN = Run(
    "x", "multitask", "target", 3, CONFIG["settings"] | {"use_cpu": True},
    Data(tasks=CONFIG["tasks"], suite="demo", max_train_samples=100),
)  # fmt: skip


@cache
def executed(method):
    return execute(replace(RUN, method=method))


@pytest.mark.parametrize("method", ["multitask", "single", "alphavil", "mt_tartan"])
def test_methods_see_equally_many_examples(method):
    """
    85 rows of the target and 100 of each auxiliary, in batches of 16, make 6 + 7 + 7 steps per epoch. αVIL holds 13 of
    the target's rows out, and trains on the others in 5 steps.
    """
    result = executed(method)
    rows = {"target": 72 if method == "alphavil" else 85} | (
        {"helpful": 100, "noise": 100} if method != "single" else {}
    )
    assert {name: number for name, number in result["rows"]["train"].items() if number} == rows
    assert (result["rows"]["meta"], result["rows"]["selection"]) == (13, 15)
    expected = 2 * 20 * 16
    # With multi-task steps there are a third as many, rounded up in each epoch. αVIL's joint phase of 15.2 steps and
    # its forks of 1, 1.4 and 1.4 are rounded too.
    assert result["examples"] == {"mt_tartan": 2 * 7 * 3 * 16, "alphavil": 2 * 18 * 16}.get(method, expected)
    assert result["steps"] == {"mt_tartan": 14, "alphavil": 36}.get(method, 40)
    assert len(result["selection_scores"]) == 2
    assert result["selection_score"] == max(result["selection_scores"])
    assert result["chosen_epoch"] == result["selection_scores"].index(result["selection_score"]) + 1
    assert result["score"] == result["scores"]["accuracy"]


@pytest.mark.parametrize(("method", "steps"), [("multitask", 40), ("alphavil", 36), ("mt_tartan", 14)])
def test_a_run_without_an_auxiliary_takes_as_many_steps(method, steps):
    """Its epochs are shorter, so it takes more of them: αVIL has plans of 10 + 1 + 1 steps, and takes three."""
    result, with_all = execute(replace(RUN, method=method, without="noise")), executed(method)
    rows = {"target": 72 if method == "alphavil" else 85, "helpful": 100}
    assert result["rows"]["train"] == rows
    assert (result["without"], with_all["without"]) == ("noise", None)
    assert result["steps"] == with_all["steps"] == steps
    assert len(result["selection_scores"]) == len(with_all["selection_scores"]) == 2
    for part in ("meta", "selection", "validation"):
        assert result["rows"][part] == with_all["rows"][part]


@pytest.mark.parametrize(
    "method",
    [name for name, method in METHODS.items() if method.trains_on("b", "a") and method.min_auxiliaries < 2],
)
def test_every_method_knows_the_steps_of_a_run_without_an_auxiliary(method, tmp_path):
    """85, 100 and 100 rows make 11, 13 and 13 steps. Whole plans differ by less than half of one."""
    run = replace(RUN, method=method, without="noise", settings={"num_train_epochs": 4})
    args = training_args(run, load_data(RUN.data), 85, str(tmp_path))
    assert 4 * 13 - 13 / 2 <= args.max_steps <= 4 * (11 + 13 + 13) + 24 / 2 + 4
    assert args.eval_steps == args.max_steps // 4


def test_whole_plans_are_the_nearest_number_of_steps(tmp_path):
    """αVIL's plan is 36 steps with `more`, else 24, so that 5 plans of the one are 7.5 of the other."""
    args = MultitaskTrainingArguments(
        output_dir=str(tmp_path), target_task="target", method="alphavil", num_train_epochs=5, joint_fraction=0.0,
        per_device_train_batch_size=4,
    )  # fmt: skip
    assert steps_without(args, {"target": 48, "more": 48, "other": 48}, "more") == 24 * 8  # 7.5 is rounded to even
    args.num_train_epochs = 3
    assert steps_without(args, {"target": 48, "more": 32, "other": 48}, "more") == 24 * 4  # 32 · 3 = 96
    args.method = "multitask"
    assert steps_without(args, {"target": 48, "more": 20, "other": 48}, "more") == 3 * (12 + 5 + 12)


def test_the_weight_of_an_auxiliary_that_is_left_out():
    of_others, of_it = (
        execute(replace(RUN, without="noise", settings=RUN.settings | {"task_weights": weights}))
        for weights in ({"helpful": 2.0, "noise": 0.5}, {"noise": 0.5})
    )
    assert of_others["task_weights"] == {"target": 1.0, "helpful": 2.0}
    assert of_it["task_weights"] == {"target": 1.0, "helpful": 1.0}


def test_an_auxiliary_that_is_left_out_changes_no_initial_weight(monkeypatch):
    weights = []

    def trainer(model, **others):
        weights.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        raise InterruptedError

    monkeypatch.setattr("hf_alphavil.comparing.execute.MultitaskTrainer", trainer)
    for without in (None, "helpful"):
        with pytest.raises(InterruptedError):
            execute(replace(RUN, without=without))
    with_all, left_out = weights
    assert with_all.keys() == left_out.keys()
    assert all(torch.equal(with_all[name], left_out[name]) for name in with_all)


def test_a_report_of_what_each_auxiliary_gives(tmp_path):
    status, output = finish(tmp_path, methods=["multitask"], leave_one_out=["multitask"])
    assert status == 0, output
    lines = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert [line["without"] for line in lines] == [None, "helpful", "noise"]
    for auxiliary in ("helpful", "noise"):
        assert f"| multitask | target | {auxiliary} | " in output
    assert output.count("| 1 | ") == 2 + 1  # one seed each, and one run with all in the costs
    assert output.count("too few seeds to tell") == 2
    assert (tmp_path / "out" / "plots" / "auxiliaries.png").exists()


def test_a_seed_determines_the_result():
    first, second, other = executed("multitask"), execute(RUN), execute(replace(RUN, seed=4))
    assert first["scores"]["loss"] == second["scores"]["loss"] != other["scores"]["loss"]
    assert first["selection_scores"] == second["selection_scores"]


def test_the_weights_of_the_best_epoch_are_kept():
    model, best = torch.nn.Linear(1, 1, bias=False), BestModel()

    class Args:
        metric_for_best_model, greater_is_better = "eval_x", True

    for epoch, score in enumerate([float("nan"), 0.4, 0.6, 0.6, float("nan"), 0.5], start=1):
        torch.nn.init.constant_(model.weight, epoch)
        best.on_evaluate(Args, None, None, model=model, metrics={"eval_x": score})
    assert (best.epoch, best.weights["weight"].item()) == (3, 3.0)
    assert len(best.scores) == 6
