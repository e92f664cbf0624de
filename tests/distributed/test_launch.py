"""What the driver does around a run: reading the launch command, and leaving a process group."""

import subprocess
import sys
from pathlib import Path

import pytest

from hf_alphavil.distributed.launch import requested_processes
from support.launching import ROOT

# Groups as runs leave them: with a DDP model in a reference cycle, and a collective that has just ended. A thread that
# asks for the GIL waits for a second here, so that a process which joins threads with the GIL in hand soon hangs; that
# it never does so is seen by the order: no DDP wrapper may outlive the group.
LEAVE = """
import sys, weakref
from pathlib import Path
import torch, torch.distributed as dist
from torch import nn
from hf_alphavil.distributed.launch import end_process_group

folder, rank = Path(sys.argv[1]), int(sys.argv[2])

def gloo_threads():
    names = [(task / "comm").read_text() for task in Path("/proc/self/task").iterdir()]
    return sum("pt_gloo" in name for name in names)

class Trainer:
    def __init__(self):
        self.model, self.me = nn.parallel.DistributedDataParallel(nn.Linear(8, 1)), self

destroy_process_group = dist.destroy_process_group

def destroy():
    assert wrapper() is None, "a DDP wrapper is the last to own the group"
    destroy_process_group()

dist.destroy_process_group = destroy
sys.setswitchinterval(1)
torch.set_num_threads(1)
for i in range(5):
    dist.init_process_group("gloo", store=dist.FileStore(str(folder / f"store{i}"), 2), rank=rank, world_size=2)
    trainer = Trainer()
    wrapper = weakref.ref(trainer.model)
    trainer.model(torch.ones(4, 8)).sum().backward()
    dist.all_reduce(torch.ones(3))
    assert gloo_threads() > 0
    del trainer
    end_process_group()
    end_process_group()
    assert gloo_threads() == 0 and not dist.is_initialized()
"""


def test_requested_processes():
    assert requested_processes(["accelerate", "launch", "--num_processes", "2", "x.py"]) == 2
    assert requested_processes(["accelerate", "launch", "--num_processes=4", "x.py"]) == 4
    assert requested_processes(["accelerate", "launch", "x.py"]) is None
    assert requested_processes(["--num_processes"]) is None


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads Linux's list of threads")
def test_a_process_group_ends_with_its_threads(tmp_path):
    """Now and then a thread that is left aborts the process at its end, and one that waits for the GIL hangs it."""
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", LEAVE, str(tmp_path), str(rank)], cwd=ROOT, stderr=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    try:
        for rank in ranks:
            errors = rank.communicate(timeout=300)[1]
            assert rank.returncode == 0, errors[-3000:]
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
