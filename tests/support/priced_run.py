"""Runs of a target and a regression whose labels are far from 0, such as prices."""

import torch
from torch import nn
from torch.nn import functional as F

from support.toy_run import RecordingTrainer, toy_args

ROWS = {"class": 40, "price": 48}
MEAN, SPREAD = 2e5, 5e4


class Network(nn.Module):
    """A shared layer and a linear head per task. It keeps the batches that it is trained on."""

    def __init__(self, loss=F.mse_loss):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.encoder = nn.Sequential(nn.Linear(4, 8), nn.Tanh())
            self.tasks = nn.ModuleDict({"class": nn.Linear(8, 2), "price": nn.Linear(8, 1)})
        self.double()
        self.loss = loss
        self.seen = []

    def forward(self, task, x, labels=None):
        logits = self.tasks[task](self.encoder(x))
        if labels is None:
            return {"logits": logits}
        if self.training:
            self.seen.append((task, x, labels))
        is_price = task == "price"
        return {"loss": (self.loss if is_price else F.cross_entropy)(logits.squeeze(-1), labels), "logits": logits}


def priced_rows(task, number, seed=0, mean=MEAN, spread=SPREAD):
    """Rows of a task. A price is linear in x, with this mean and spread over draws of rows."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(number, 4, generator=generator, dtype=torch.float64)
    labels = (x[:, 0] > 0).long() if task == "class" else mean + spread * (x[:, 0] + x[:, 1]) / 2**0.5
    return [{"x": row, "labels": label} for row, label in zip(x, labels, strict=True)]


def priced_trainer(output_dir, model=None, mean=MEAN, spread=SPREAD, trainer_class=RecordingTrainer, **settings):
    """A trainer of both tasks, by default jointly, on standardised labels and by Adam."""
    arguments = {name: settings.pop(name) for name in ("compute_loss_func", "optimizers") if name in settings}
    defaults = {
        "target_task": "class", "method": "multitask", "regression_scale": "standardize", "num_train_epochs": 1,
        "optim": "adamw_torch", "learning_rate": 0.01, "alpha_data": "train_holdout", "alpha_holdout_fraction": 0.3,
    }  # fmt: skip
    return trainer_class(
        model=Network() if model is None else model,
        args=toy_args(output_dir, **defaults | settings),
        train_dataset={task: priced_rows(task, number, mean=mean, spread=spread) for task, number in ROWS.items()},
        eval_dataset={task: priced_rows(task, 32, seed=1, mean=mean, spread=spread) for task in ROWS},
        **arguments,
    )
