"""What the driver does around a run: reading the launch command, and leaving a process group."""

import subprocess
import sys
from pathlib import Path

import pytest
from launching import ROOT

from hf_alphavil.launch import requested_processes

# As a run leaves it: a DDP model in a reference cycle, which keeps the process group alive after it was destroyed.
LEAVE = """
import sys
from pathlib import Path
import torch, torch.distributed as dist
from torch import nn
from hf_alphavil.launch import end_process_group

def gloo_threads():
    names = [(task / "comm").read_text() for task in Path("/proc/self/task").iterdir()]
    return sum("gloo" in name for name in names)

class Trainer:
    def __init__(self):
        self.model, self.me = nn.parallel.DistributedDataParallel(nn.Linear(1, 1)), self

dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=0, world_size=1)
trainer = Trainer()
before = gloo_threads()
dist.destroy_process_group()
del trainer
print(before > 0, gloo_threads() == before)
end_process_group()
end_process_group()
print(gloo_threads(), dist.is_initialized())
"""


def test_requested_processes():
    assert requested_processes(["accelerate", "launch", "--num_processes", "2", "x.py"]) == 2
    assert requested_processes(["accelerate", "launch", "--num_processes=4", "x.py"]) == 4
    assert requested_processes(["accelerate", "launch", "x.py"]) is None
    assert requested_processes(["--num_processes"]) is None


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads Linux's list of threads")
def test_no_thread_of_the_process_group_outlives_it(tmp_path):
    """A gloo thread that meets the interpreter's end aborts the process, now and then."""
    left = subprocess.run(
        [sys.executable, "-c", LEAVE, str(tmp_path / "store")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert left.returncode == 0, left.stderr[-3000:]
    assert left.stdout.split("\n")[:2] == ["True True", "0 False"], left.stdout
