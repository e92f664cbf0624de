"""Runs of the toy in processes that are killed.

Each run is one forked process, or two with the environment that torchrun sets. SIGKILL comes at a counted event, drawn
from a seed, of one of these kinds, or at a random moment:

- `micro_batch`: after a forward and backward pass, so inside an accumulation window too;
- `update`: between clipping and the optimizer's step;
- `alpha`: after a gradient of α;
- `file`: before a file below the run's folder is opened for writing, renamed or removed.
"""

import contextlib
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import torch
from transformers import EarlyStoppingCallback, TrainerCallback

from hf_alphavil.objectives.loss import TaskObjective
from support.comparing import run_differences
from support.forking import free_port
from support.toy_run import RecordingTrainer, run_toy

KINDS = ("micro_batch", "update", "alpha", "file")
FILE_EVENTS = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree")


class Events:
    """Counts the events of this process, and kills it at one of them."""

    def __init__(self, folder, deadly=None):
        self.folder = str(folder)
        self.deadly = deadly  # (kind, number)
        self.counts = dict.fromkeys(KINDS, 0)

    def happen(self, kind):
        if self.deadly == (kind, self.counts[kind]):
            os.kill(os.getpid(), signal.SIGKILL)
        self.counts[kind] += 1

    def audit(self, event, arguments):
        writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        if (writes or event in FILE_EVENTS) and str(arguments[0]).startswith(self.folder):
            self.happen("file")

    def watch(self):
        """Makes this process report its events."""
        sys.addaudithook(self.audit)
        TaskObjective.loss_and_products = self.counted("alpha", TaskObjective.loss_and_products)
        RecordingTrainer.training_step = self.counted("micro_batch", RecordingTrainer.training_step)

    def counted(self, kind, function):
        """The function, after each call of which an event of the kind happens."""

        def call(*args, **kwargs):
            result = function(*args, **kwargs)
            self.happen(kind)
            return result

        return call


class Updates(TrainerCallback):
    def __init__(self, events):
        self.events = events

    def on_pre_optimizer_step(self, *args, **kwargs):
        self.events.happen("update")


def rank_process(rank, world, port, folder, result, deadly, settings):
    """One rank of a run that resumes from its last complete checkpoint. Never returns."""
    log = os.open(f"{result}.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1), os.dup2(log, 2)
    if world > 1:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
        os.environ |= {"LOCAL_WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    status = 1
    try:
        events = Events(folder, deadly)
        events.watch()
        callbacks = [Updates(events)]
        patience = settings.pop("patience", None)
        if patience is not None:
            callbacks.append(EarlyStoppingCallback(patience))
        run = run_toy(folder, resume_from_checkpoint="auto", callbacks=callbacks, **settings)
        torch.save(run | {"events": events.counts}, f"{result}.aside")
        os.replace(f"{result}.aside", result)
        status = 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush(), sys.stderr.flush()
    os._exit(status)


def run(world, folder, result, settings, deadly=None, deadly_rank=0, delay=None):
    """
    Runs all ranks until they end or one dies; the others are then killed, as a launcher does.

    Returns:
        Whether a rank was killed by SIGKILL before the run's end.
    """
    port = free_port()
    pids = []
    for rank in range(world):
        pid = os.fork()
        if pid == 0:
            rank_process(
                rank, world, port, folder, f"{result}-{rank}", deadly if rank == deadly_rank else None, dict(settings)
            )
        pids.append(pid)
    if delay is not None:
        time.sleep(delay)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pids[deadly_rank], signal.SIGKILL)
    statuses, put_down = {}, set()
    while len(statuses) < world:
        pid, status = os.waitpid(-1, 0)
        statuses[pid] = status
        if status == 0:
            continue
        for other in set(pids) - set(statuses):
            # One that is dead already died by itself, and perhaps first.
            dead, status = os.waitpid(other, os.WNOHANG)
            if dead:
                statuses[other] = status
            else:
                os.kill(other, signal.SIGKILL)
                put_down.add(other)
    killed = any(
        os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL and pid not in put_down
        for pid, status in statuses.items()
    )
    if any(statuses.values()) and not killed:
        raise RuntimeError("\n".join(Path(f"{result}-{rank}.log").read_text()[-3000:] for rank in range(world)))
    return killed


def scenario(name, world, settings, kills, seed, folder):
    """
    Kills runs at `kills` events, drawn from the seed, two in a run, and resumes them until they end. The kinds of
    events take turns; the seed says which is the first.

    Returns:
        What was killed (`kinds`), how the ends differ from the undisturbed run's (`differences`), and how many of them
        resumed from a checkpoint rather than from scratch (`resumed`).
    """
    rng = random.Random(seed)
    began = time.perf_counter()
    if run(world, folder / "whole", folder / "whole-result", settings):
        raise RuntimeError("the undisturbed run was killed")
    seconds = time.perf_counter() - began
    whole = torch.load(f"{folder / 'whole-result'}-0", weights_only=False)
    report = {"name": name, "world": world, "kinds": [], "differences": [], "runs": 0, "resumed": 0}
    kinds = [kind for kind in KINDS if whole["events"][kind]]
    while len(report["kinds"]) < kills:
        number, first = report["runs"], len(report["kinds"])
        place, result = folder / f"run-{number}", folder / f"result-{number}"
        # Two kills in a row, then to the end: the second may come too late for what is left of the run.
        for attempt in range(2):
            kind = [*kinds, "moment"][(seed + first + attempt) % (len(kinds) + 1)]
            rank = rng.randrange(world)
            if kind == "moment":
                killed = run(world, place, result, settings, deadly_rank=rank, delay=rng.uniform(0.2, seconds))
            else:
                deadly = (kind, rng.randrange(whole["events"][kind]))
                # Only the first rank writes checkpoints; the other's events are fewer.
                killed = run(world, place, result, settings, deadly, 0 if kind == "file" else rank)
            report["kinds"] += [kind] if killed else []
        if run(world, place, result, settings):
            raise RuntimeError("a run that was to end was killed")
        for rank in range(world):
            ended = torch.load(f"{result}-{rank}", weights_only=False)
            reference = torch.load(f"{folder / 'whole-result'}-{rank}", weights_only=False)
            if rank > 0:  # a checkpoint holds rank 0's log
                ended["log_history"] = reference["log_history"]
            report["differences"] += [
                f"run {number}, rank {rank}: {line}" for line in run_differences(reference, ended)
            ]
        report["runs"] += 1
        report["resumed"] += ended["events"]["micro_batch"] < whole["events"]["micro_batch"]
    return report


def report_scenarios(scenarios, folder):
    """The report of each scenario."""
    reports = []
    for i, entry in enumerate(scenarios):
        place = folder / str(i)
        place.mkdir(parents=True)
        reports.append(scenario(folder=place, **entry))
    return reports
