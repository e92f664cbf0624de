"""The check that all parameters are finite: its answer, and how often it waits for the device."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from support.toy_run import toy_trainer


class Reads(TorchDispatchMode):
    """Counts values that Python reads from tensors. On a GPU, each waits for the device."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return toy_trainer(tmp_path_factory.mktemp("run"))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(
    ("value", "is_finite"),
    [("largest", True), (float("nan"), False), (float("inf"), False), (-float("inf"), False)],
    ids=str,
)
def test_one_value_decides(value, is_finite, dtype, run):
    run.model.to(dtype)
    values = list(run.model.parameters())[-1].data.flatten()
    before = values[-1].item()
    try:
        values[-1] = torch.finfo(dtype).max if value == "largest" else value
        assert run.runner._finite.model_is_finite() is is_finite
    finally:
        values[-1] = before
    assert run.runner._finite.model_is_finite()


def test_finite_parameters_take_one_read(run):
    with Reads() as reads:
        assert run.runner._finite.model_is_finite()
    assert reads.count == 1
