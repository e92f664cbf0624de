"""The comparison detects deviations: each class here differs from stock in one small thing."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Trainer, TrainerCallback

from hf_alphavil import MultitaskTrainer
from support.plain_harness import Side, compare, differences
from support.plain_toys import sentences


class TorchDraw(MultitaskTrainer):
    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        torch.rand(1)
        return super().training_step(*args, **kwargs)


class PythonDraw(MultitaskTrainer):
    def get_eval_dataloader(self, *args: Any) -> Any:
        random.random()
        return super().get_eval_dataloader(*args)


class NumpyDraw(MultitaskTrainer):
    def create_scheduler(self, *args: Any, **kwargs: Any) -> Any:
        np.random.rand()
        return super().create_scheduler(*args, **kwargs)


class LogKey(MultitaskTrainer):
    def log(self, logs: dict[str, float], *args: Any) -> None:
        super().log(logs | {"more": 0.0}, *args)


class Callback(MultitaskTrainer):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_callback(TrainerCallback())


class CheckpointFile(MultitaskTrainer):
    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        Path(output_dir, "more.json").write_text("{}")


class LossOnce(MultitaskTrainer):
    """What would be right, but is not stock: BERT's loss divided by the accumulation steps."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.model_accepts_loss_kwargs = False


class LastBit(MultitaskTrainer):
    def _finalize_training(self, *args: Any, **kwargs: Any) -> Any:
        output = super()._finalize_training(*args, **kwargs)
        bias = self.model.classifier.bias.data
        bias.copy_(torch.nextafter(bias, bias + 1))
        return output


DEVIATIONS = {
    TorchDraw: "generators.torch", PythonDraw: "generators.python", NumpyDraw: "generators.numpy",
    LogKey: "log_history", Callback: "callbacks", CheckpointFile: "files: keys", LossOnce: "log_history",
    LastBit: "weights.classifier.bias",
}  # fmt: skip


def run(side: Side) -> Trainer:
    settings = {
        "num_train_epochs": 1, "gradient_accumulation_steps": 2, "save_strategy": "epoch", "eval_strategy": "epoch",
    }  # fmt: skip
    trainer = side.trainer(settings, train_dataset=sentences(10), eval_dataset=sentences(4, seed=1))
    trainer.train()
    return trainer


@pytest.mark.parametrize("cls", DEVIATIONS, ids=lambda cls: cls.__name__)
def test_a_deviation_is_found(cls: type, tmp_path: Path) -> None:
    assert any(DEVIATIONS[cls] in line for line in compare(run, tmp_path, trainer_class=cls))


def test_two_stock_runs_do_not_differ(tmp_path: Path) -> None:
    assert compare(run, tmp_path, trainer_class=Trainer) == []


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (1, 1.0), (0.0, -0.0), ([1], [1, 2]), ({"a": 1, "b": 2}, {"b": 2, "a": 1}), (np.zeros(2), np.zeros((2, 1))),
        (torch.zeros(2), -torch.zeros(2)), (torch.zeros(2), torch.zeros(2).double()), (b"a", b"b"),
    ],
)  # fmt: skip
def test_values_differ(a: Any, b: Any) -> None:
    assert differences(a, b)
    assert not differences(a, a)


def test_nan_equals_itself() -> None:
    assert not differences({"loss": float("nan")}, {"loss": float("nan")})
    assert not differences(torch.tensor([float("nan")]), torch.tensor([float("nan")]))
