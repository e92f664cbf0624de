"""For `accelerate launch --max_restarts 1`: a run stopped by SIGTERM in one rank, and one in which a rank dies.

`launched_faults.py SETTINGS.json FOLDER`. Rank 0 leaves FOLDER/results.pt.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch

from hf_alphavil.checkpointing.folder import checkpoints
from hf_alphavil.distributed.launch import end_process_group
from support.faults import interrupted_run
from support.toy_run import run_toy


def names(folder):
    return [path.name for path in checkpoints(folder)]


def main(settings, folder):
    dying = folder / "dying"
    if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        interrupted_run(dying, 1, 5, signal.SIGKILL, settings)
        raise RuntimeError("rank 1 should have died")
    results = {"died_after": names(dying)}
    results["after_death"] = run_toy(dying, resume_from_checkpoint="auto", **settings)
    results["whole"] = run_toy(folder / "whole", **settings)
    interrupted_run(folder / "signalled", 1, 3, signal.SIGTERM, settings)
    results["stopped_at"] = names(folder / "signalled")
    results["after_sigterm"] = run_toy(folder / "signalled", resume_from_checkpoint="auto", **settings)
    if os.environ["RANK"] == "0":
        torch.save(results, folder / "results.pt")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2]))
    end_process_group()
