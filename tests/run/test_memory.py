"""The expected memory of αVIL, compared with counts by hand, the tensors of a run, and the benchmark."""

import json
import logging

import pytest
import torch
from transformers import TrainerCallback

import memory
from hf_alphavil.run.memory import extra_memory
from support.driving import call_main
from support.forking import fork
from support.toy_run import toy_args, toy_trainer

# In units of the parameters' memory, for five tasks: θ0, five deltas and five stored optimizer states, each twice the
# parameters.
EXPECTED = 1 + 5 + 10


@pytest.mark.parametrize(
    ("settings", "dtype", "expected"),
    [
        ({}, torch.float32, EXPECTED),
        ({"delta_dtype": "bfloat16"}, torch.float32, EXPECTED - 5 / 2),
        ({"delta_dtype": "bfloat16"}, torch.float64, EXPECTED - 5 * 3 / 4),
        ({"optimizer_state_dtype": "bfloat16"}, torch.float32, EXPECTED - 10 / 2),
        ({"phase_optimizer_state": "reset"}, torch.float32, 1 + 5),
        ({"phase_optimizer_state": "reset", "delta_dtype": "bfloat16"}, torch.float32, 1 + 5 / 2),
    ],
)
def test_on_one_device(settings, dtype, expected, tmp_path):
    parameters = [torch.empty(60, dtype=dtype), torch.empty(4, 10, dtype=dtype)]
    for device in ("device", "cpu"):
        args = toy_args(tmp_path, delta_device=device, optimizer_state_device=device, **settings)
        assert extra_memory(parameters, 5, args) == (expected * 100 * dtype.itemsize, 0)


@pytest.mark.parametrize(
    ("settings", "on_device", "on_cpu"),
    [
        ({"delta_device": "cpu"}, 10, 1 + 5),
        ({"delta_device": "cpu", "delta_dtype": "bfloat16"}, 10, 1 + 5 / 2),
        ({"optimizer_state_device": "cpu"}, 1 + 5, 10),
        ({"optimizer_state_device": "cpu", "delta_device": "cpu"}, 0, 1 + 5 + 10),
        ({"phase_optimizer_state": "reset", "delta_device": "cpu"}, 0, 1 + 5),
    ],
)
def test_what_is_kept_in_cpu_memory(settings, on_device, on_cpu, tmp_path):
    args = toy_args(tmp_path, **settings)
    assert extra_memory([torch.empty(100, device="meta")], 5, args) == (on_device * 400, on_cpu * 400)


def test_a_process_that_runs_some_phases_keeps_their_states(tmp_path):
    args = toy_args(tmp_path)
    assert extra_memory([torch.empty(100)], 5, args, num_own=2) == ((1 + 5 + 4) * 400, 0)


def test_epochs_of_few_tasks_hold_few_deltas_and_all_optimizer_states():
    args = toy_args("unused", max_auxiliaries_per_epoch=2)
    assert extra_memory([torch.empty(100)], 5, args) == ((1 + 3 + 10) * 400, 0)
    assert extra_memory([torch.empty(100)], 5, args, num_own=4) == ((1 + 3 + 12) * 400, 0)  # with a joint phase


class TensorCount(TrainerCallback):
    """The most bytes that θ0, deltas and optimizer states held in any step."""

    most = 0

    def on_step_begin(self, args, state, control, **kwargs):
        deltas, states = self.trainer.runner.state.deltas, self.trainer.runner.state.optimizer_states
        states = [states.optimizer.state, *states.stored.values()]
        tensors = [*deltas.start().values()]
        tensors += [stack.matrix for stack in deltas.stacks]
        tensors += [
            value
            for entries in states
            for of_parameter in entries.values()
            for value in of_parameter.values()
            if value.dim()
        ]
        self.most = max(self.most, sum(tensor.numel() * tensor.element_size() for tensor in tensors))


@pytest.mark.parametrize("setting", ["delta_dtype", "optimizer_state_dtype"])
def test_a_run_holds_what_is_expected(setting, tmp_path, caplog):
    count = TensorCount()
    trainer = count.trainer = toy_trainer(
        tmp_path, callbacks=[count], noisy=True, optim="adamw_torch", **{setting: "bfloat16"}
    )
    with caplog.at_level(logging.INFO, logger="hf_alphavil.run.memory"):
        trainer.train()
    expected, _ = extra_memory(trainer.model.parameters(), 3, trainer.args)
    theta, heads, largest_head = (
        sum(p.numel() * p.element_size() for p in module.parameters())
        for module in (trainer.model, trainer.model.heads, trainer.model.heads["b"])
    )
    # A task's optimizer has no state of the other tasks' heads, which the toy has large.
    stored = 1 if setting == "optimizer_state_dtype" else 2
    other_heads = stored * 2 * heads + 2 * (heads - largest_head)
    assert count.most == expected + 2 * theta - other_heads
    assert f"beyond a plain run, with AdamW: {expected / 1e9:.2f} GB" in caplog.text


@pytest.mark.slow
def test_the_benchmark_measures_what_is_expected(tmp_path):
    """Each setting runs in a new process."""
    states, dtypes = ["per_task", "reset"], ["bfloat16"]
    arguments = ["--random_size", "tiny", "--delta_device", "device", "--output", str(tmp_path / "out.json")]
    arguments += ["--phase_optimizer_state", *states, "--delta_dtype", *dtypes]
    arguments += ["--optimizer_state_device", "device", "--optimizer_state_dtype", "bfloat16"]
    run = fork(call_main, memory.main, "benchmarks/memory.py", arguments, timeout=900)
    assert run.returncode == 0, run.stderr
    plain, *results = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["results"]
    assert [run.stdout.count(f"\n| {state} | ") for state in states] == [len(dtypes)] * len(states)
    for result in results:
        # Embeddings are 9/10 of this model: sums that take one parameter at a time take about one model.
        over = (result["peak"] - plain["peak"]) / plain["parameters"]
        assert over == pytest.approx(result["expected"] / plain["parameters"], abs=2), result
