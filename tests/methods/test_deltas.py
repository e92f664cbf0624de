"""The bank of deltas, against plain arithmetic on copies."""

import copy

import pytest
import torch

from hf_alphavil.methods import DeltaBank
from support.small_net import Net


def moved(bank, model, phase, amount, **kwargs):
    bank.rewind()
    with torch.no_grad():
        for parameter in bank.parameters:
            parameter.add_(amount)
        model.norm.running_mean.fill_(amount)
    bank.record(phase, **kwargs)


@pytest.fixture
def opened():
    model = Net()
    before = copy.deepcopy(model.state_dict())
    bank = DeltaBank(model)
    bank.open()
    moved(bank, model, "b", 2.0)
    moved(bank, model, "a", 1.0, keep_buffers=True)
    return model, bank, before


def test_covers_trainable_parameters_once(opened):
    _, bank, _ = opened
    assert bank.names == ["encoder.weight", "encoder.bias", "head.weight", "head.bias", "norm.weight", "norm.bias"]
    assert bank.phases == ["a", "b"]


def test_combine_and_buffers(opened):
    model, bank, before = opened
    bank.combine({"a": 0.5, "b": -3.0})
    for name in bank.names:
        torch.testing.assert_close(model.state_dict()[name], before[name] + 0.5 - 6.0)
    assert torch.equal(model.frozen.weight, before["frozen.weight"])
    assert model.norm.running_mean.tolist() == [1.0] * 3
    bank.rewind()
    for name, value in before.items():
        assert torch.equal(model.state_dict()[name], value)


def test_inner_products_are_those_of_flat_vectors(opened):
    _, bank, _ = opened
    gradients = [torch.randn_like(p) if i != 2 else None for i, p in enumerate(bank.parameters)]
    flat = torch.cat([g.flatten() for g in gradients if g is not None])
    products = bank.inner_products(gradients)
    assert products["a"].item() == pytest.approx(flat.sum().item(), abs=1e-4)
    assert products["b"].item() == pytest.approx(2 * flat.sum().item(), abs=1e-4)


def test_unscaled_parameters_merge_with_one():
    model = Net()
    before = copy.deepcopy(model.state_dict())
    bank = DeltaBank(model, unscaled={"head.weight", "head.bias"})
    bank.open()
    moved(bank, model, "a", 1.0)
    bank.combine({"a": 0.25})
    torch.testing.assert_close(model.head.weight, before["head.weight"] + 1)
    torch.testing.assert_close(model.encoder.weight, before["encoder.weight"] + 0.25)
    ones = [torch.ones_like(p) for p in bank.parameters]
    scaled = sum(p.numel() for name, p in zip(bank.names, bank.parameters, strict=True) if "head" not in name)
    assert bank.inner_products(ones)["a"].item() == pytest.approx(scaled)


def test_start_in_model_puts_the_running_parameters_back(opened):
    model, bank, before = opened
    running = copy.deepcopy(model.state_dict())
    parameter = model.encoder.weight
    with bank.start_in_model():
        assert torch.equal(model.encoder.weight, before["encoder.weight"])
    assert model.encoder.weight is parameter
    for name, value in running.items():
        assert torch.equal(model.state_dict()[name], value)


def test_state_round_trip(opened):
    model, bank, before = opened
    tensors = {name: tensor.clone() for name, tensor in bank.state_tensors().items()}
    fresh = Net()
    fresh.load_state_dict(before)
    other = DeltaBank(fresh)
    other.load_state_tensors(tensors, ["a", "b"])
    for bank_ in (bank, other):
        bank_.combine({"a": 2.0, "b": 1.0})
    for name, value in model.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], value)
    other.close()
    assert not other.is_open
    assert other.state_tensors() == {}
    with pytest.raises(RuntimeError, match="call open"):
        other.rewind()
