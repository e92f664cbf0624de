"""
A run does what its arguments say: its steps, epochs, evaluations, checkpoints, log entries and learning rates are
counted, and compared with a count from the arguments that is made here by hand.
"""

import math
import random
import warnings

import pytest

from support.toy_run import SIZES, TARGET, toy_trainer

VALUES = {
    "num_train_epochs": [1, 2, 3, 1.5, 0.4],
    "max_steps": [-1, -1, 1, 5, 11],
    "per_device_train_batch_size": [3, 8, 16, 100],
    "gradient_accumulation_steps": [1, 1, 2],
    "delta_fraction": [1.0, 0.5, 0.1],
    "max_phase_steps": [None, 1, 2, 3],
    "joint_fraction": [0.0, 0.0, 0.5],
    "logging_strategy": ["no", "epoch", "steps"],
    "logging_steps": [1, 2, 5],
    "eval_strategy": ["no", "epoch", "steps"],
    "eval_steps": [1, 3, 7],
    "eval_delay": [0, 0, 2],
    "eval_on_start": [False, False, True],
    "save_strategy": ["no", "epoch", "steps"],
    "save_steps": [2, 3, 100],
    "save_total_limit": [None, 1, 2],
    "lr_scheduler_type": ["constant", "linear", "constant_with_warmup"],
    "warmup_steps": [0, 0, 3],
    "learning_rate": [0.01, 0.1],
    "save_only_model": [True],
}
METHODS = ("alphavil", "multitask", "single")


def drawn(seed):
    draw = random.Random(seed)
    settings = {name: draw.choice(values) for name, values in VALUES.items()}
    return {"method": METHODS[seed % len(METHODS)]} | settings


class Count:
    """What the arguments say, counted by hand for one process."""

    def __init__(self, settings):
        self.settings = settings
        batch = settings["per_device_train_batch_size"] * settings["gradient_accumulation_steps"]
        of_task = {}
        for task, rows in SIZES.items():
            sampled = max(1, round(settings["delta_fraction"] * rows))
            of_task[task] = min(math.ceil(sampled / batch), settings["max_phase_steps"] or 10**9)
        if settings["method"] == "alphavil":
            joint = settings["joint_fraction"]
            plan = sum(max(1, round((1 - joint) * count)) for count in of_task.values())
            plan += round(joint * sum(of_task.values()))
        else:
            plan = sum(of_task.values()) if settings["method"] == "multitask" else of_task[TARGET]
        wanted = settings["max_steps"] if settings["max_steps"] > 0 else math.ceil(settings["num_train_epochs"] * plan)
        self.plan, self.epochs = plan, math.ceil(wanted / plan)
        self.steps = self.epochs * plan if settings["method"] == "alphavil" else wanted
        self.epoch_ends = [min(epoch * plan, self.steps) for epoch in range(1, self.epochs + 1)]

    def due(self, what):
        """The steps at which something is due by `what`'s strategy."""
        strategy, every = self.settings[f"{what}_strategy"], self.settings[f"{what}_steps"]
        if strategy == "steps":
            return [step for step in range(1, self.steps + 1) if step % every == 0]
        return self.epoch_ends if strategy == "epoch" else []

    def evaluations(self):
        """Steps of the evaluations. Those that are due inside a plan with forks are made once, at its end."""
        delay = self.settings["eval_delay"]
        if self.settings["eval_strategy"] == "epoch":
            steps = [end for epoch, end in enumerate(self.epoch_ends, start=1) if delay <= end / self.plan]
        else:
            at_the_end = {self.steps} if self.settings["eval_strategy"] == "steps" else set()
            due = {*self.due("eval"), *at_the_end}
            steps = sorted(step for step in due if step >= delay)
        if self.settings["method"] == "alphavil":
            steps = sorted({math.ceil(step / self.plan) * self.plan for step in steps})
        return [0, *steps] if self.settings["eval_on_start"] else steps

    def checkpoints(self):
        steps = self.due("save")
        if self.settings["save_strategy"] == "steps":  # and at the end
            steps = sorted({*steps, self.steps})
        limit = self.settings["save_total_limit"]
        return steps if limit is None else steps[-limit:]

    def learning_rate(self, step):
        """The rate of a step, by the formulas of the schedules; `None` if a plan of forks has its own positions."""
        step -= 1  # the schedules count the steps that are done
        rate, warmup = self.settings["learning_rate"], self.settings["warmup_steps"]
        kind = self.settings["lr_scheduler_type"]
        if kind == "constant":
            return rate
        if self.settings["method"] == "alphavil":
            return None
        if step < warmup:
            return rate * step / warmup
        return rate if kind == "constant_with_warmup" else rate * (self.steps - step) / max(1, self.steps - warmup)


def check(seed, folder):
    settings = drawn(seed)
    count = Count(settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = toy_trainer(folder, alpha_steps=1, **settings)
        trainer.train()
    log = trainer.state.log_history
    logged = [entry for entry in log if "loss" in entry]
    found = {
        "steps": trainer.state.global_step,
        "epochs": trainer.state.epoch,
        "history": len(trainer.history),
        "log entries": [entry["step"] for entry in logged],
        "evaluations": [entry["step"] for entry in log if f"eval_{TARGET}_loss" in entry],
        "checkpoints": sorted(int(path.name.split("-")[1]) for path in folder.glob("checkpoint-*")),
    }
    said = {
        "steps": count.steps,
        "epochs": pytest.approx(count.steps / count.plan),
        "history": count.steps // count.plan,
        "log entries": count.due("logging"),
        "evaluations": count.evaluations(),
        "checkpoints": count.checkpoints(),
    }
    wrong = [f"{name}: {found[name]}, not {said[name]}" for name in said if found[name] != said[name]]
    for entry in logged:
        rate = count.learning_rate(entry["step"])
        if rate is not None and entry["learning_rate"] != pytest.approx(rate, rel=1e-6, abs=1e-12):
            wrong.append(f"learning rate of step {entry['step']}: {entry['learning_rate']}, not {rate}")
    return [f"{seed} {settings}: {fault}" for fault in wrong]


def check_all(seeds, folder):
    faults = [fault for seed in seeds for fault in check(seed, folder / str(seed))]
    assert not faults, "\n".join(faults)


def test_a_run_does_what_its_arguments_say(tmp_path):
    check_all(range(9), tmp_path)


@pytest.mark.slow
def test_many_runs_do_what_their_arguments_say(tmp_path):
    check_all(range(9, 60), tmp_path)
