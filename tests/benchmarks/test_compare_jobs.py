"""Parallel processes: how many run and in which order. None is left at the end."""

import os
import sys
import time

import psutil
import pytest

from hf_alphavil.comparing.jobs import Job, run_jobs
from hf_alphavil.comparing.run_options import Deadline

NEVER = Deadline(float("inf"))

# Writes down when it began and ended.
NOTE = """
import sys, time
began = time.time()
print("hello")
time.sleep(0.6)
open(sys.argv[1], "w").write(f"{began} {time.time()}")
"""


def job(folder, name, code=NOTE):
    return Job(name, (sys.executable, "-c", code, str(folder / name)), folder / "logs" / name)


def test_the_number_of_jobs_at_a_time(tmp_path):
    ended = []
    jobs = [job(tmp_path, str(i)) for i in range(4)] + [job(tmp_path, "bad", "raise SystemExit(3)")]
    run_jobs(jobs, 2, lambda job, status: ended.append((job.name, status)), os.environ, NEVER)
    assert sorted(ended) == [("0", 0), ("1", 0), ("2", 0), ("3", 0), ("bad", 3)]
    assert (tmp_path / "logs" / "0").read_text() == "hello\n"
    spans = [tuple(map(float, (tmp_path / str(i)).read_text().split())) for i in range(4)]
    overlaps = [sum(a <= begin < b for a, b in spans) for begin, _ in spans]
    assert max(overlaps) == 2


def test_an_error_ends_the_running_jobs(tmp_path):
    def stop(job, status):
        raise KeyboardInterrupt

    sleeper = job(tmp_path, "sleeper", "import time; time.sleep(100)")
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_jobs([sleeper, job(tmp_path, "0")], 2, stop, os.environ, NEVER)
    assert time.monotonic() - began < 50
    left = [child for child in psutil.Process().children() if str(tmp_path) in " ".join(child.cmdline())]
    assert left == []


def test_no_job_starts_after_the_deadline(tmp_path, monkeypatch):
    """The deadline passes when the first job has started."""
    ended, deadline = [], Deadline(float("inf"))
    monkeypatch.setattr(deadline, "is_over", lambda: (tmp_path / "logs" / "0").exists())
    run_jobs(
        [job(tmp_path, str(i)) for i in range(2)],
        2,
        lambda job, status: ended.append((job.name, status)),
        os.environ,
        deadline,
    )
    assert ended == [("0", 0)]
    assert not (tmp_path / "logs" / "1").exists()
