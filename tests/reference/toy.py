"""A toy multi-task model and related toy tasks, in float64."""

import zlib

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset


class ToyModel(nn.Module):
    """A shared encoder and one linear head per task; a head of one label is a regression."""

    def __init__(self, n_labels: dict[str, int], in_features: int = 6, hidden: int = 8, seed: int = 0):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoder = nn.Sequential(
                nn.Linear(in_features, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh()
            )
            self.heads = nn.ModuleDict({task: nn.Linear(hidden, n_labels[task]) for task in sorted(n_labels)})
        self.double()

    def forward(self, task, x=None, labels=None):
        logits = self.heads[task](self.encoder(x))
        if labels is None:
            return {"logits": logits}
        regression = logits.shape[-1] == 1
        loss = F.mse_loss(logits.squeeze(-1), labels) if regression else F.cross_entropy(logits, labels)
        return {"loss": loss, "logits": logits}


class ToyDataset(Dataset):
    """Map-style; an item is {"x": float64 vector, "labels": an int64 class or a float64 number}."""

    def __init__(self, x, labels):
        self.x, self.labels = x, labels

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return {"x": self.x[index], "labels": self.labels[index]}


def toy_tasks(sizes, seed, *, target=None, meta_rows=40, n_labels=None, in_features=6, noise=0.3, random_labels=()):
    """Return ({task: train set of sizes[task] rows}, held-out meta set of the target).

    Every task reads the same hidden features through a separate readout, at a distance of `noise` from a common one.
    The target is the first task by default. A task has two labels by default; `n_labels` sets other numbers (1 is a
    regression). The tasks in `random_labels` have random labels. A task's data depend on (seed, task), not on the
    order of tasks.
    """
    target = next(iter(sizes)) if target is None else target
    n_labels = dict.fromkeys(sizes, 2) | (n_labels or {})

    def normal(*shape, key):
        generator = torch.Generator().manual_seed(zlib.crc32(f"toy:{seed}:{key}".encode()))
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    features = normal(in_features, 5, key="features")
    train, meta = {}, None
    for task, size in sizes.items():
        rows = size + (meta_rows if task == target else 0)
        x = normal(rows, in_features, key=f"{task}:x")
        readout = normal(5, n_labels[task], key="readout") + noise * normal(5, n_labels[task], key=f"{task}:readout")
        scores = torch.tanh(x @ features) @ readout
        if task in random_labels:
            scores = normal(rows, n_labels[task], key=f"{task}:random")
        labels = scores.squeeze(-1) if n_labels[task] == 1 else scores.argmax(-1)
        train[task] = ToyDataset(x[:size], labels[:size])
        if task == target:
            meta = ToyDataset(x[size:], labels[size:])
    return train, meta
