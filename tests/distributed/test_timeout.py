"""A process that waits in vain for another ends in an error, after `ddp_timeout`."""

import re
import time

import pytest

from support.faults import hanging_run
from support.forking import fork


@pytest.mark.distributed
def test_the_timeout_acts_on_cpus(tmp_path):
    begin = time.monotonic()
    finished = fork(hanging_run, str(tmp_path), rank=1, step=7, config="ddp", num_processes=2, ddp_timeout=3)
    assert finished.returncode == 1
    assert (
        "rank 0 waited 3 seconds for the other processes in a training step (after 7 optimizer steps)"
        in finished.stderr
    )
    # Gloo's own error, which says the one or the other.
    assert re.search("Timed out waiting 3000ms|Application timeout", finished.stderr)
    assert time.monotonic() - begin < 60
