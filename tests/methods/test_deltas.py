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
    bank.open({"a", "b"})
    moved(bank, model, "b", 2.0)
    moved(bank, model, "a", 1.0, keep_buffers=True)
    return model, bank, before


def test_covers_trainable_parameters_once(opened):
    _, bank, _ = opened
    assert bank.names == ["encoder.weight", "encoder.bias", "head.weight", "head.bias", "norm.weight", "norm.bias"]
    assert bank.phases == ["a", "b"]


def test_combine_and_buffers(opened):
    model, bank, before = opened
    bank.combine(torch.tensor([[0.5], [-3.0]]))
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
    assert products.dtype == torch.float64
    assert products.shape == (2, 1)
    assert products.flatten().tolist() == pytest.approx([flat.sum().item(), 2 * flat.sum().item()], abs=1e-4)


def test_unscaled_parameters_merge_with_one():
    model = Net()
    before = copy.deepcopy(model.state_dict())
    bank = DeltaBank(model, unscaled={"head.weight", "head.bias"})
    bank.open({"a"})
    moved(bank, model, "a", 1.0)
    bank.combine(torch.tensor([[0.25]]))
    torch.testing.assert_close(model.head.weight, before["head.weight"] + 1)
    torch.testing.assert_close(model.encoder.weight, before["encoder.weight"] + 0.25)
    ones = [torch.ones_like(p) for p in bank.parameters]
    scaled = sum(p.numel() for name, p in zip(bank.names, bank.parameters, strict=True) if "head" not in name)
    assert bank.inner_products(ones).item() == pytest.approx(scaled)


def test_every_group_has_its_coefficients():
    model = Net()
    before = copy.deepcopy(model.state_dict())
    names = [name for name, _ in model.named_parameters()]
    bank = DeltaBank(model, unscaled={"norm.bias"}, groups={name: name.split(".")[0] for name in names})
    bank.open({"a", "b"})
    moved(bank, model, "b", 2.0)
    moved(bank, model, "a", 1.0)
    assert bank.groups == ["encoder", "head", "norm"]
    bank.combine(torch.tensor([[0.5, 0.0, 1.0], [0.25, -1.0, 3.0]]))
    for name, amount in [("encoder.bias", 1.0), ("head.weight", -2.0), ("norm.weight", 7.0), ("norm.bias", 3.0)]:
        torch.testing.assert_close(model.state_dict()[name], before[name] + amount)
    gradients = [torch.ones_like(p) for p in bank.parameters]
    gradients[bank.names.index("head.weight")] = gradients[bank.names.index("head.bias")] = None
    encoder = model.encoder.weight.numel() + model.encoder.bias.numel()
    norm = model.norm.weight.numel()
    assert bank.inner_products(gradients).tolist() == [
        pytest.approx([encoder, 0.0, norm]), pytest.approx([2 * encoder, 0.0, 2 * norm]),
    ]  # fmt: skip


def test_coefficients_by_phase_are_equal_in_all_groups(opened):
    _, bank, _ = opened
    assert bank.coefficients({"b": 2.0}).tolist() == [[0.0], [2.0]]


def test_start_in_model_restores_the_running_parameters(opened):
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
    other.open({"a", "b"})
    other.load_state_tensors(tensors, ["a", "b"])
    for bank_ in (bank, other):
        bank_.combine(torch.tensor([[2.0], [1.0]]))
    for name, value in model.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], value)
    other.close()
    assert not other.is_open
    assert other.state_tensors() == {}
    with pytest.raises(RuntimeError, match="call open"):
        other.rewind()


def test_the_next_epoch_uses_the_memory_again(opened):
    def pointers():
        return [tensor.data_ptr() for tensors in (bank.start(), bank.delta("a")) for tensor in tensors.values()]

    model, bank, _ = opened
    first = pointers()
    bank.combine(torch.tensor([[1.0], [1.0]]))
    bank.close()
    before = copy.deepcopy(model.state_dict())
    bank.open({"a", "b"})
    moved(bank, model, "a", 5.0)
    assert pointers() == first
    assert bank.phases == ["a"]
    bank.combine(torch.tensor([[2.0]]))
    for name in bank.names:
        torch.testing.assert_close(model.state_dict()[name], before[name] + 10.0)
    bank.close()
    bank.open({"a"})  # a task has left the plan
    moved(bank, model, "a", 1.0)
    assert [len(stack.matrix) for stack in bank.stacks] == [1] * len(bank.names)
