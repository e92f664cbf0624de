"""Random changes between a stopped run and its resume: the same result, a refusal in words, or a warning."""

import logging
import random

import pytest
import torch
from torch.utils.data import Subset
from transformers import TrainerCallback

from hf_alphavil.checkpointing.folder import checkpoints
from support.comparing import run_differences
from support.resumed_run import RUN
from support.toy_run import LABELS, SIZES, TARGET, NoisyToyModel, RecordingTrainer, accuracy, toy_args, toy_data, whole

BASES = {
    "forks": {"max_phase_steps": 2},
    "joint phase": {"max_phase_steps": 2, "joint_fraction": 0.3, "task_sampling": "temperature"},
    "reset": {"max_phase_steps": 2, "phase_optimizer_state": "reset", "alpha_optimizer": "adam"},
    "multitask": {"method": "multitask", "max_phase_steps": 3},
    "stilts": {"method": "stilts", "max_phase_steps": 2},
}


# Every change is (what an error or a warning names, what it does to the parts of a trainer).


def other_setting(rng):
    share, positive = rng.uniform(0.2, 0.9), 10 ** rng.uniform(-3, -1)
    name, value = rng.choice(
        [
            ("learning_rate", positive),
            ("weight_decay", positive),
            ("lr_scheduler_type", rng.choice(["constant", "cosine"])),
            ("warmup_steps", rng.randint(1, 5)),
            ("optim", rng.choice(["sgd", "rmsprop", "adafactor"])),
            ("optim_args", "amsgrad=True"),
            ("adam_beta1", share),
            ("max_grad_norm", positive),
            ("seed", rng.randint(0, 40)),
            ("data_seed", rng.randint(0, 40)),
            ("delta_fraction", share),
            ("max_phase_steps", rng.randint(4, 6)),
            ("joint_fraction", share / 2),
            ("task_sampling", "uniform"),
            ("sampling_temperature", 1 + share),
            ("phase_optimizer_state", "per_task"),
            ("delta_dtype", "bfloat16"),
            ("weight_applies_to", "loss"),
            ("min_task_weight", share / 2),
            ("weight_average", share),
            ("alpha_steps", rng.randint(6, 9)),
            ("alpha_learning_rate", share),
            ("alpha_optimizer", "lbfgs"),
            ("alpha_granularity", "layer"),
            ("alpha_init", share),
            ("alpha_data", "train"),
            ("alpha_batch_size", rng.randint(8, 32)),
            ("max_length", rng.randint(8, 64)),
            ("method", "single"),
            ("num_train_epochs", rng.choice([3, 4])),
            ("eval_strategy", "epoch"),
            ("bf16", True),
        ]
    )
    return (name, "global_batch_size", "num_epochs"), lambda parts: parts["settings"].update({name: value})


def other_batches(rng):
    batch, accumulation = rng.choice([(8, 1), (2, 4), (4, 1), (8, 2)])

    def change(parts):
        parts["settings"] |= {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation}

    return ("per_device_train_batch_size", "global_batch_size", "gradient_accumulation_steps"), change


def harmless_setting(rng):
    name, value = rng.choice(
        [
            ("save_steps", rng.randint(1, 9)),
            ("save_total_limit", 1),
            ("optimizer_state_device", "cpu"),
            ("dataloader_num_workers", 1),
            ("logging_first_step", True),
            ("per_device_eval_batch_size", rng.randint(1, 16)),
            ("phase_parallel", "auto"),
            ("enable_jit_checkpoint", True),
            ("data_seed", 42),
        ]
    )
    return (), lambda parts: parts["settings"].update({name: value})


def other_order(rng):
    order = rng.choice([list("acb"), list("bac"), list("bca"), list("cab"), list("cba")])

    def change(parts):
        parts["train"] = {task: parts["train"][task] for task in order if task in parts["train"]}

    return ("tasks in order",), change


def other_rows(rng):
    task = rng.choice([*SIZES, "meta"])
    kind = rng.choice(["label", "feature", "swap", "fewer", "other"])

    def changed(rows):
        rows, number = [dict(row) for row in rows], rng.randrange(1, len(rows))
        if kind == "label":
            rows[number]["labels"] = (rows[number]["labels"] + 1) % 2
        elif kind == "feature":
            rows[number]["x"] = rows[number]["x"] + 1e-6
        elif kind == "swap":
            rows[0], rows[number] = rows[number], rows[0]
        elif kind == "fewer":
            return Subset(rows, [i for i in range(len(rows)) if i != number])
        else:
            rows = [row | {"x": -row["x"]} for row in rows]
        return rows

    def change(parts):
        if task == "meta":
            parts["meta"] = changed([parts["meta"][i] for i in range(len(parts["meta"]))])
        elif task in parts["train"]:
            parts["train"][task] = changed([parts["train"][task][i] for i in range(len(parts["train"][task]))])

    return ("rows of the meta set", "validation rows of", f"training rows of {task}"), change


def another_set_of_tasks(rng):
    task = rng.choice("bc")
    return ("tasks in order",), lambda parts: parts["train"].pop(task, None)


def other_model(rng):
    kind = rng.choice(["dropout", "frozen", "hidden", "labels"])

    def change(parts):
        if kind == "dropout":
            parts["model"].encoder[-1].p = rng.uniform(0.3, 0.6)
        elif kind == "frozen":
            parts["model"].heads["c"].requires_grad_(False)
        elif kind == "hidden":
            parts["model"] = NoisyToyModel(LABELS, hidden=9)
        else:
            parts["model"] = NoisyToyModel(LABELS | {"c": 4})

    return ("parameters", "modules"), change


def other_optimizer(rng):
    make = rng.choice(
        [
            lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9),
            lambda parameters: torch.optim.AdamW(parameters, lr=0.03, weight_decay=0.1),
            lambda parameters: torch.optim.AdamW(parameters[::-1], lr=0.01, weight_decay=0.1),
            lambda parameters: torch.optim.AdamW(
                [{"params": parameters[:2], "weight_decay": 0.0}, {"params": parameters[2:]}],
                lr=0.01,
                weight_decay=0.1,
            ),
        ]
    )
    return ("another optimizer",), lambda parts: parts.update(optimizer=make)


CHANGES = [other_setting] * 6 + [other_rows] * 2
CHANGES += [harmless_setting] * 3 + [other_batches, other_order, another_set_of_tasks, other_model, other_optimizer]


class Steps(TrainerCallback):
    count = 0

    def on_step_begin(self, args, state, control, **kwargs):
        self.count += 1


def parts_of(base):
    train, meta = toy_data()
    settings = {name: value for name, value in RUN.items() if name != "noisy"}
    return {"settings": settings | BASES[base], "train": dict(train), "meta": meta, "model": NoisyToyModel(LABELS)}


def run(folder, parts, checkpoint=None, steps=None):
    """What `run_toy` returns of a trainer that is made of the parts."""
    steps = Steps() if steps is None else steps
    optimizer = parts["optimizer"](list(parts["model"].parameters())) if "optimizer" in parts else None
    trainer = RecordingTrainer(
        model=parts["model"],
        args=toy_args(folder, **parts["settings"]),
        train_dataset=parts["train"],
        eval_dataset={TARGET: parts["meta"]},
        compute_metrics=accuracy,
        callbacks=[steps],
        optimizers=(optimizer, None),
    )
    trainer.train(resume_from_checkpoint=checkpoint)
    state = {name: whole(tensor) for name, tensor in trainer.model.state_dict().items()}
    return {
        "state": state,
        "history": trainer.history,
        "log_history": trainer.state.log_history,
        "counted": trainer.state.global_step,
    }


@pytest.fixture(scope="module")
def whole_runs(tmp_path_factory):
    """The undisturbed run of a base, with a checkpoint of every step."""
    made = {}

    def make(base):
        if base not in made:
            folder = tmp_path_factory.mktemp("whole")
            made[base] = folder, run(folder, parts_of(base))
        return made[base]

    return make


def outcome(rng, whole_runs, folder, caplog):
    """Resumes a run with something changed; returns how it went, or what is wrong."""
    base = rng.choice(list(BASES))
    origin, undisturbed = whole_runs(base)
    checkpoint = rng.choice(checkpoints(origin)[1:])  # not at the end: a step is left
    chosen = [rng.choice(CHANGES)(rng) for _ in range(rng.choice([1, 1, 2]))]
    parts = parts_of(base)
    for _, change in chosen:
        change(parts)
    names, steps = [name for names, _ in chosen for name in names], Steps()
    caplog.clear()
    refusal = None
    try:
        resumed = run(folder, parts, str(checkpoint), steps)
    except ValueError as error:
        refusal = str(error)
    if refusal is not None:
        assert steps.count == 0, f"{base}, {names}: refused after training has begun"
        assert any(name in refusal for name in names), f"{base}, {names}: {refusal}"
        return "refused"
    told = [record.getMessage() for record in caplog.records if "was written with" in record.getMessage()]
    if told:
        assert any(name in told[0] for name in names), f"{base}, {names}: {told}"
        return "warned"
    # Steps of logs may change.
    differences = [line for line in run_differences(undisturbed, resumed) if not line.startswith("logs")]
    assert not differences, f"{base}, {names}, {checkpoint.name}: silently another run: {differences}"
    return "equal"


def outcomes(seed, number, whole_runs, folder, caplog):
    caplog.set_level(logging.WARNING)
    rng = random.Random(seed)
    return [outcome(rng, whole_runs, folder / str(i), caplog) for i in range(number)]


def test_resumes_with_something_changed(whole_runs, tmp_path, caplog):
    assert set(outcomes(0, 15, whole_runs, tmp_path, caplog)) == {"refused", "warned", "equal"}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_more_resumes_with_something_changed(seed, whole_runs, tmp_path, caplog):
    assert {"refused", "warned"} <= set(outcomes(seed, 40, whole_runs, tmp_path, caplog))
