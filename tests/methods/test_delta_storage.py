"""The device and dtype in which the bank keeps θ0 and deltas, against plain arithmetic on rounded copies."""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from hf_alphavil.checkpointing.run_state import load_run_tensors, save_run_state
from hf_alphavil.methods import DeltaBank
from support.forking import fork_runs
from support.small_net import Net
from support.toy_run import run_toy

ALPHA = {"a": 0.7, "b": -1.3}
COEFFICIENTS = torch.tensor([[0.7], [-1.3]], dtype=torch.float64)


def moves(model, seed):
    """Random movements of every trainable parameter: most of their bits are beyond bfloat16."""
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(p.shape, generator=generator, dtype=p.dtype) * 0.1 for p in model.parameters() if p.requires_grad
    ]


def bank_of_two(model, **settings):
    """A bank with the deltas of two phases, θ0, and the deltas as the parameters' dtype has them."""
    bank = DeltaBank(model, **settings)
    bank.open({"a", "b"})
    theta0 = [p.detach().clone() for p in bank.parameters]
    deltas = {}
    for phase, seed in (("b", 1), ("a", 2)):
        bank.rewind()
        with torch.no_grad():
            for parameter, move in zip(bank.parameters, moves(model, seed), strict=True):
                parameter.add_(move)
        deltas[phase] = [p.detach() - start for p, start in zip(bank.parameters, theta0, strict=True)]
        bank.record(phase)
    return bank, theta0, deltas


def merged(theta0, deltas, alpha):
    """θ0 + Σ α δ, phases in the order of their names."""
    return [
        start.add(a.to(start.dtype), alpha=alpha["a"]).add(b.to(start.dtype), alpha=alpha["b"])
        for start, a, b in zip(theta0, deltas["a"], deltas["b"], strict=True)
    ]


def rounded(deltas):
    return {phase: [delta.bfloat16() for delta in of_phase] for phase, of_phase in deltas.items()}


def assert_equal(mine, theirs):
    assert all(torch.equal(one, other) for one, other in zip(mine, theirs, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bfloat16_deltas_are_rounded_once_and_summed_in_the_parameters_dtype(dtype):
    bank, theta0, deltas = bank_of_two(Net().to(dtype), dtype="bfloat16")
    expected = rounded(deltas)
    for phase in ("a", "b"):
        assert_equal(bank.delta(phase).values(), expected[phase])
        assert {delta.dtype for delta in bank.delta(phase).values()} == {torch.bfloat16}
    assert {start.dtype for start in bank.start().values()} == {dtype}
    bank.combine(COEFFICIENTS)
    assert_equal(bank.parameters, merged(theta0, expected, ALPHA))
    assert not torch.equal(bank.parameters[0], merged(theta0, deltas, ALPHA)[0])
    gradients = moves(bank.model, 3)
    products = bank.inner_products(gradients)
    for phase, product in zip(("a", "b"), products.flatten().tolist(), strict=True):
        exact, unrounded = (
            sum(float(g.double().flatten() @ d.double().flatten()) for g, d in zip(gradients, of_phase, strict=True))
            for of_phase in (expected[phase], deltas[phase])
        )
        assert product == pytest.approx(exact, rel=1e-5)
        assert unrounded != pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_float32_means_the_parameters_own_precision(dtype):
    bank, _, deltas = bank_of_two(Net().to(dtype))
    assert_equal(bank.delta("a").values(), deltas["a"])
    assert bank.delta("a")["encoder.weight"].dtype == dtype


def test_a_checkpoint_holds_bfloat16_deltas(tmp_path):
    bank, theta0, deltas = bank_of_two(Net(), dtype="bfloat16", device="cpu")
    save_run_state(tmp_path, bank.state_tensors(), {})
    tensors = load_run_tensors(tmp_path)
    assert tensors["delta/a/encoder.weight"].dtype == torch.bfloat16
    assert tensors["theta/encoder.weight"].dtype == torch.float32
    bank.rewind()
    other = DeltaBank(bank.model, dtype="bfloat16", device="cpu")
    other.open({"a", "b"})
    other.load_state_tensors(tensors, ["a", "b"])
    assert_equal(other.parameters, [tensors[f"theta/{name}"] for name in other.names])
    other.combine(COEFFICIENTS)
    assert_equal(other.parameters, merged(theta0, rounded(deltas), ALPHA))


@pytest.mark.parametrize(("device", "place"), [("cpu", "cpu"), ("device", "cuda")])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_places_on_cuda(device, place, dtype, monkeypatch):
    """Fake tensors have a device and no values, and refuse to be mixed across devices, as real ones do."""
    pinned = []

    def watch(function):
        def watched(*args, pin_memory=False, **kwargs):
            pinned.append(pin_memory)
            return function(*args, pin_memory=pin_memory, **kwargs)

        return watched

    for name in ("empty", "empty_like"):
        monkeypatch.setattr(torch, name, watch(getattr(torch, name)))
    # The one operation that is free to cross devices; torch without CUDA does not fake it.
    monkeypatch.setattr(torch.Tensor, "copy_", lambda into, value: into)
    with FakeTensorMode():
        model = nn.ParameterDict({name: nn.Parameter(torch.empty(3, 2, device="cuda")) for name in ("v", "w")})
        bank = DeltaBank(model, device=device, dtype=dtype)
        bank.open({"a"})
        bank.record("a")
        bank.rewind()
        products = bank.inner_products([torch.empty(3, 2, device="cuda"), None])
        bank.combine(torch.tensor([[0.5]]))
        with bank.start_in_model():
            pass
        saved = {name: tensor.to("cpu") for name, tensor in bank.state_tensors().items()}
        resumed = DeltaBank(model, device=device, dtype=dtype)
        resumed.open({"a"})
        resumed.load_state_tensors(saved, ["a"])
        resumed.combine(torch.tensor([[0.5]]))
        for each in (bank, resumed):
            kept = [*each.start().values(), *each.delta("a").values()]
            assert {tensor.device.type for tensor in kept} == {place}
        assert products.device.type == "cuda"
        assert {p.device.type for p in bank.parameters} == {"cuda"}
    # θ0 and δ of either bank, and the parameters that ran while θ0 was in the model.
    assert pinned.count(True) == (2 * 5 if device == "cpu" else 0)


def assert_merged_as_fitted(run):
    """θ of every epoch is θ0 + Σ α δ of the stored, rounded δ, bit for bit."""
    for entry, tensors in zip(run["history"], run["epochs"], strict=True):
        for name, start in tensors["theta0"].items():
            expected = start.clone()
            for task in sorted(tensors["delta"]):
                delta = tensors["delta"][task][name]
                assert delta.dtype == torch.bfloat16
                expected.add_(delta.to(start.dtype), alpha=entry["alpha"][task])
            assert torch.equal(expected, tensors["theta"][name]), name


def test_a_run_with_bfloat16_deltas(tmp_path):
    exact = run_toy(tmp_path / "exact")
    run = run_toy(tmp_path / "rounded", delta_dtype="bfloat16")
    assert_merged_as_fitted(run)
    # The first epoch's phases are the same training.
    for task, deltas in exact["epochs"][0]["delta"].items():
        for name, delta in deltas.items():
            assert delta.dtype == torch.float64
            assert torch.equal(run["epochs"][0]["delta"][task][name], delta.bfloat16()), (task, name)
    assert run["history"][0]["alpha"] != exact["history"][0]["alpha"]
    assert run["history"][0]["alpha"] == pytest.approx(exact["history"][0]["alpha"], abs=0.01)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_on_a_cpu_both_delta_devices_give_the_same_run(dtype, tmp_path):
    one, other = (
        run_toy(tmp_path / device, noisy=True, delta_dtype=dtype, delta_device=device) for device in ("device", "cpu")
    )
    assert one["history"] == other["history"]
    for name, tensor in one["state"].items():
        assert torch.equal(tensor, other["state"][name]), name


@pytest.mark.slow
@pytest.mark.distributed
def test_shards_on_two_processes(tmp_path):
    """FSDP2: each process rounds and keeps its shards."""
    settings = {"per_device_train_batch_size": 4, "num_train_epochs": 2}
    runs = [
        {"output_dir": str(tmp_path / "exact"), **settings},
        {"output_dir": str(tmp_path / "rounded"), **settings, "delta_dtype": "bfloat16", "delta_device": "cpu"},
    ]
    exact, run = fork_runs(run_toy, runs, "fsdp2", 2)
    assert run["sharded"] == set(run["state"])
    assert_merged_as_fitted(run)
    for task, deltas in exact["epochs"][0]["delta"].items():
        for name, delta in deltas.items():
            assert torch.equal(run["epochs"][0]["delta"][task][name], delta.bfloat16()), (task, name)
