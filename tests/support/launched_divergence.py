"""For `accelerate launch`: a loss that becomes NaN in rank 1 alone. `launched_divergence.py SETTINGS.json FOLDER`."""

import json
import os
import sys
from pathlib import Path

import torch
from accelerate.utils import gather_object

from hf_alphavil.distributed.launch import end_process_group
from support.poisoned_run import Poison, trainer


def main(settings, folder):
    run = trainer(folder / "run", Poison([13], rank=1), **settings)
    run.train()
    results = {
        "dropped": gather_object([[entry["dropped"] for entry in run.history]]),
        "checksums": gather_object([sum(p.double().sum().item() for p in run.model.parameters())]),
    }
    if os.environ["RANK"] == "0":
        torch.save(results, folder / "results.pt")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2]))
    end_process_group()
