"""What the driver does before and after a run: reading the launch command, and destroying the process group."""

import os
import sys
import weakref
from importlib.machinery import ModuleSpec
from pathlib import Path

import psutil
import pytest
import torch
import torch.distributed as dist
from torch import nn

from hf_alphavil.distributed.launch import end_process_group, requested_processes, start_missing_processes
from support.forking import fork


def gloo_threads():
    names = [(task / "comm").read_text() for task in Path("/proc/self/task").iterdir()]
    return sum("pt_gloo" in name for name in names)


class OwnerOfItself:
    """As a trainer, it is part of a reference cycle and holds a DDP model."""

    def __init__(self):
        self.model, self.me = nn.parallel.DistributedDataParallel(nn.Linear(8, 1)), self


def leave_groups(folder):
    """
    Leaves groups as runs do: with a DDP model in a reference cycle, and a collective that has just ended.

    A thread that asks for the GIL waits for a second here, so that a process which joins threads with the GIL in hand
    soon hangs. That it never does so is seen by the order: no DDP wrapper may outlive the group.
    """
    destroy_process_group = dist.destroy_process_group

    def destroy():
        assert wrapper() is None, "a DDP wrapper is the last to own the group"
        destroy_process_group()

    dist.destroy_process_group = destroy
    sys.setswitchinterval(1)
    for i in range(5):
        store = dist.FileStore(str(folder / f"store{i}"), 2)
        dist.init_process_group("gloo", store=store, rank=int(os.environ["RANK"]), world_size=2)
        trainer = OwnerOfItself()
        wrapper = weakref.ref(trainer.model)
        trainer.model(torch.ones(4, 8)).sum().backward()
        dist.all_reduce(torch.ones(3))
        assert gloo_threads() > 0
        del trainer
        end_process_group()
        end_process_group()
        assert gloo_threads() == 0
        assert not dist.is_initialized()


def test_requested_processes():
    assert requested_processes(["accelerate", "launch", "--num_processes", "2", "x.py"]) == 2
    assert requested_processes(["accelerate", "launch", "--num_processes=4", "x.py"]) == 4
    assert requested_processes(["accelerate", "launch", "x.py"]) is None
    assert requested_processes(["--num_processes"]) is None


@pytest.mark.parametrize("launched", [{"ACCELERATE_USE_CPU": "true", "MASTER_ADDR": "here", "MASTER_PORT": "1"}])
@pytest.mark.parametrize("more", [{}, {"RANK": "0"}, {"ACCELERATE_USE_CPU": "false"}], ids=str)
@pytest.mark.parametrize(
    ("module", "program"),
    [(None, ["run.py"]), ("house.__main__", ["-m", "house"]), ("house.top", ["-m", "house.top"])],
)
def test_missing_processes_are_started(launched, more, module, program, monkeypatch):
    """`accelerate launch --cpu` started this process alone, unless it has a rank; test_driver.py really launches."""
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (launched | more).items():
        monkeypatch.setenv(name, value)
    launch = ["accelerate", "launch", "--cpu", "--num_processes", "3", "run.py"]
    monkeypatch.setattr(psutil.Process, "cmdline", lambda process: launch)
    monkeypatch.setattr(sys, "argv", ["run.py", "--target", "rte"])
    spec = None if module is None else ModuleSpec(module, None)
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", spec)
    started = []
    monkeypatch.setattr(os, "execv", lambda program, command: started.append(command))
    start_missing_processes()
    words = ["--nproc_per_node", "3", "--master_addr", "here", "--master_port", "1", *program, "--target", "rte"]
    assert [command[3:] for command in started] == ([] if more else [words])


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads Linux's list of threads")
def test_a_process_group_ends_with_its_threads(tmp_path):
    """A thread that outlives its group sometimes aborts the process at exit; one that waits for the GIL hangs it."""
    run = fork(leave_groups, tmp_path, config="ddp", num_processes=2, timeout=300)
    assert run.returncode == 0, run.stderr[-3000:]
