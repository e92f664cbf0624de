"""αVIL under DistributedDataParallel, on a model with native heads: idle heads, checkpointing, compilation, LoRA."""

from functools import cache

import pytest
import torch

from support.bert_run import HEADS, run_bert
from support.forking import fork_runs

# PEFT itself asks for a deprecated name.
ignore_peft = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

pytestmark = pytest.mark.distributed

RUN = {"learning_rate": 0.05, "weight_decay": 0.1, "optim_args": "momentum=0.9"}
# Accumulation: DDP looks for unused heads only in the last micro-batch.
RUNS = {
    "plain": {},
    "accumulation": {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2},
    "lora": {"lora": True},
    "standardized": {"regression_scale": "standardize"},
}
SLOW_RUNS = {
    "checkpointing": {"activation_checkpointing": True},
    "compiled": {"torch_compile": True, "torch_compile_backend": "eager"},
    "evaluate_first": {"evaluate_first": True},
}
# Adam turns gradients that are zero but for rounding into steps of full size: not for comparisons.
ADAM = {"optim": "adamw_torch", "learning_rate": 0.01, "weight_decay": 0.5, "optim_args": None}
ADAM |= {"weight_applies_to": "learning_rate"}
WATCHED = RUNS | {"adam": ADAM}
SLOW_WATCHED = SLOW_RUNS | {"adam_accumulation": ADAM | RUNS["accumulation"]}


def cases(quick, slow):
    return [*quick, *(pytest.param(name, marks=pytest.mark.slow) for name in slow)]


def assert_close_runs(one, other, atol=2e-5):
    """Runs are equal except for rounding, because sums are in another order."""
    for mine, theirs in zip(one["epochs"], other["epochs"], strict=True):
        assert mine["delta"].keys() == theirs["delta"].keys() == HEADS.keys()
        for task, delta in theirs["delta"].items():
            for name, tensor in delta.items():
                torch.testing.assert_close(mine["delta"][task][name], tensor, rtol=0, atol=atol, msg=(task, name))
        for name, tensor in theirs["theta"].items():
            torch.testing.assert_close(mine["theta"][name], tensor, rtol=0, atol=atol, msg=name)
    for mine, theirs in zip(one["history"], other["history"], strict=True):
        assert mine["alpha"] == pytest.approx(theirs["alpha"], abs=1e-3)


@cache
def runs_on_two_processes(is_slow, folder):
    named = SLOW_WATCHED if is_slow else WATCHED
    runs = [{"output_dir": str(folder / name), **RUN, **settings} for name, settings in named.items()]
    for run in runs:
        run["per_device_train_batch_size"] = run.get("per_device_train_batch_size", 4) // 2
    return dict(zip(named, fork_runs(run_bert, runs, "ddp", 2), strict=True))


@pytest.fixture(scope="module")
def on_two_processes(tmp_path_factory):
    """Returns a function from a run's name to its result on two processes."""
    folder = tmp_path_factory.mktemp("ddp")
    return lambda name: runs_on_two_processes(name in SLOW_WATCHED, folder)[name]


@ignore_peft
@pytest.mark.parametrize("name", cases(RUNS, SLOW_RUNS))
def test_two_processes_equal_one(name, on_two_processes, tmp_path):
    two = on_two_processes(name)
    assert two["rank_checksum"][0] == two["rank_checksum"][1]
    assert_close_runs(two, run_bert(tmp_path, **RUN, **(RUNS | SLOW_RUNS)[name]))


@pytest.mark.slow
def test_gradient_checkpointing_equals_none(on_two_processes, tmp_path):
    assert_close_runs(on_two_processes("checkpointing"), run_bert(tmp_path, **RUN))


def test_the_runs_are_not_trivial(on_two_processes):
    epoch = on_two_processes("plain")["epochs"][0]
    assert (epoch["theta"]["encoder.embeddings.word_embeddings.weight"]
            - epoch["theta0"]["encoder.embeddings.word_embeddings.weight"]).abs().max() > 0.01  # fmt: skip


@pytest.mark.parametrize("name", cases(WATCHED, SLOW_WATCHED))
def test_idle_heads_keep_their_bits(name, on_two_processes):
    """On no rank do weight decay and old momentum change the head of a task that takes no step."""
    steps = on_two_processes(name)["moved_heads"]
    assert {task for task, _ in steps} == HEADS.keys()
    for task, moved in steps:
        assert moved == [[head == task for head in HEADS]] * 2
