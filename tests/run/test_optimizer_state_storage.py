"""Where and how the optimizer states of phases are kept between uses."""

from unittest.mock import Mock

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import TrainerCallback

from hf_alphavil.run.optimizer_state_storage import OptimizerStateStorage
from support.toy_run import run_toy, toy_trainer

ADAM = {"noisy": True, "optim": "adamw_torch", "learning_rate": 0.01}


def trained_adam(dtype=torch.float32, **place):
    """A parameter and the state of an Adam that has taken a step."""
    parameter = torch.nn.Parameter(torch.randn(3, 2, dtype=dtype, **place))
    optimizer = torch.optim.AdamW([parameter])
    parameter.grad = torch.randn(3, 2, dtype=dtype, **place)
    optimizer.step()
    return parameter, optimizer.state


@pytest.mark.parametrize("device", ["device", "cpu"])
def test_on_a_cpu_a_state_is_stored_as_it_is(device):
    parameter, state = trained_adam()
    storage = OptimizerStateStorage(device)
    stored = storage.store(state, {})
    kept, given = storage.load(stored, copy=True), storage.load(stored, copy=False)
    for key, value in state[parameter].items():
        assert stored[parameter][key] is value
        assert given[parameter][key] is value
        assert torch.equal(kept[parameter][key], value)
        assert kept[parameter][key].data_ptr() != value.data_ptr()


def test_a_copy_takes_the_memory_of_a_state_that_is_no_longer_needed():
    parameter, state = trained_adam()
    storage = OptimizerStateStorage()
    unused = {parameter: {key: torch.full_like(value, 9.0) for key, value in state[parameter].items()}}
    copied = storage.load(storage.store(state, {}), copy=True, into=unused)
    for key, value in state[parameter].items():
        assert torch.equal(copied[parameter][key], value)
        assert copied[parameter][key].data_ptr() != value.data_ptr()
    for key in ("exp_avg", "exp_avg_sq"):
        assert copied[parameter][key].data_ptr() == unused[parameter][key].data_ptr()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_bfloat16_rounds_once_into_the_memory_of_the_last_state(dtype):
    parameter, state = trained_adam(dtype)
    storage = OptimizerStateStorage(dtype="bfloat16")
    stored = storage.store(state, {})
    addresses = [stored[parameter][key].data_ptr() for key in ("exp_avg", "exp_avg_sq")]
    loaded = storage.load(stored, copy=True)
    for key in ("exp_avg", "exp_avg_sq"):
        assert stored[parameter][key].dtype == torch.bfloat16
        assert torch.equal(loaded[parameter][key], state[parameter][key].bfloat16().to(dtype))
        assert loaded[parameter][key].dtype == dtype
    assert torch.equal(loaded[parameter]["step"], state[parameter]["step"])
    again = storage.store(loaded, stored)
    if dtype != torch.bfloat16:  # which needs no copies
        assert [again[parameter][key].data_ptr() for key in ("exp_avg", "exp_avg_sq")] == addresses


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("device", "place"), [("cpu", "cpu"), ("device", "cuda")])
def test_places_on_cuda(device, place, dtype, monkeypatch):
    """Fake tensors have a device and no values."""
    waited = Mock()
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: waited)
    # The one operation that is free to cross devices; torch without CUDA does not fake it.
    monkeypatch.setattr(torch.Tensor, "copy_", lambda into, value, non_blocking: into)
    with FakeTensorMode():
        parameter = torch.nn.Parameter(torch.empty(3, 2, device="cuda"))
        state = {parameter: {"step": torch.tensor(1.0), "exp_avg": torch.empty(3, 2, device="cuda")}}
        storage = OptimizerStateStorage(device, dtype)
        stored = storage.store(state, {})
        loaded = storage.load(stored, copy=True)
        assert stored[parameter]["exp_avg"].device.type == place
        assert stored[parameter]["step"].device.type == "cpu"
        assert loaded[parameter]["exp_avg"].device.type == "cuda"
        assert loaded[parameter]["exp_avg"].dtype == torch.float32
    waited.synchronize.assert_called_once()


def test_phases_start_from_rounded_states(tmp_path):
    trainer = toy_trainer(tmp_path, **ADAM, max_phase_steps=2, optimizer_state_dtype="bfloat16")
    at_ends, compared = {}, 0

    class Watch(TrainerCallback):
        def on_step_begin(self, args, state, control, optimizer=None, **kwargs):
            nonlocal compared
            phase, step = trainer.runner.state.position
            if step == 0 and phase.name in at_ends:
                for parameter, entries in at_ends[phase.name].items():
                    assert torch.equal(optimizer.state[parameter]["exp_avg"], entries.bfloat16().float())
                    compared += 1

        def on_optimizer_step(self, args, state, control, optimizer=None, **kwargs):
            phase, _ = trainer.runner.state.position
            at_ends[phase.name] = {p: entries["exp_avg"].clone() for p, entries in optimizer.state.items()}

    trainer.add_callback(Watch())
    trainer.train()
    assert compared > 0


def assert_same(one, other):
    assert one["history"] == other["history"]
    for name, tensor in one["state"].items():
        assert torch.equal(tensor, other["state"][name]), name


@pytest.mark.parametrize("method", ["alphavil", "stilts"])
def test_both_devices_give_the_same_run(method, tmp_path):
    one, other = (
        run_toy(tmp_path / device, **ADAM, method=method, optimizer_state_device=device)
        for device in ("device", "cpu")
    )
    assert_same(one, other)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("optim", ["adamw_torch", "adamw_torch_fused", "adafactor"])
def test_on_cuda_everything_in_cpu_memory_gives_the_same_run(optim, tmp_path):
    # Where deltas are kept changes the rounding of sums over them, so it is the same in both runs.
    settings = ADAM | {"optim": optim, "use_cpu": False, "delta_device": "cpu"}
    one = run_toy(tmp_path / "device", **settings)
    trainer = toy_trainer(tmp_path / "cpu", **settings, optimizer_state_device="cpu")
    trainer.train()
    state = {name: value.cpu() for name, value in trainer.model.state_dict().items()}
    assert_same(one, {"history": trainer.history, "state": state})
    stored = trainer.runner.state.optimizer_states.stored
    tensors = [
        value for state in stored.values() for entries in state.values() for value in entries.values() if value.dim()
    ]
    assert tensors
    assert all(value.device.type == "cpu" and value.is_pinned() for value in tensors)
    assert not trainer.runner.state.optimizer.state


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_on_cuda_a_run_resumes_from_states_in_cpu_memory(dtype, tmp_path):
    settings = ADAM | {"use_cpu": False, "optimizer_state_device": "cpu", "optimizer_state_dtype": dtype}
    whole = run_toy(tmp_path / "whole", **settings, save_strategy="steps", save_steps=4)
    for checkpoint in sorted((tmp_path / "whole").glob("checkpoint-*"))[::3]:
        assert_same(whole, run_toy(tmp_path / "resumed", str(checkpoint), **settings))
