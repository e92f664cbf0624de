"""A rank that fails, is late or acts alone: the others end in an error that says what they waited for."""

import pytest
import torch

from support.forking import fork
from support.lost_rank import FAILURES, STRAYS, TIMEOUT, lost_rank

pytestmark = pytest.mark.distributed
#: Where rank 0 waits, and the error of rank 1.
SAID = {
    "step": ("a training step (after 4 optimizer steps)", "OutOfMemoryError: CUDA out of memory."),
    "evaluation": ("an evaluation (after 9 optimizer steps)", "ValueError: no such class"),
    "checkpoint": ("saving a checkpoint (after 8 optimizer steps)", "OSError: [Errno 28] No space left on device"),
    "Ctrl-C": ("a training step (after 4 optimizer steps)", "KeyboardInterrupt: "),
    "setup": ("the comparison of all ranks before training", "ValueError: target_task='d' has no dataset"),
    "script": ("the comparison of all ranks before training", "no error"),
}
WAITED = f"waited {TIMEOUT} seconds for the other processes in "
ENDED = "waited for another process in "


def run(case, tmp_path):
    finished = fork(lost_rank, str(tmp_path / "run"), case, config="ddp", num_processes=2, timeout=60)
    assert finished.returncode == 0, finished.stderr[-3000:]
    ranks = [torch.load(tmp_path / f"run-{rank}") for rank in range(2)]
    assert all(seconds < 2 * TIMEOUT + 15 for _, _, seconds in ranks)
    return ranks


@pytest.mark.parametrize("case", FAILURES)
def test_a_rank_that_fails(case, tmp_path):
    where, theirs = SAID[case]
    (first, cause, _), (second, _, _) = run(case, tmp_path)
    assert first.startswith(f"ConnectionError: rank 0 {ENDED}{where}")
    assert first.endswith("that process has ended: look at the logs of the other ranks for the reason")
    assert "by peer" in cause  # closed or reset, as the operating system has it
    assert second.startswith(theirs)


@pytest.mark.slow
@pytest.mark.parametrize("case", STRAYS)
def test_a_rank_that_acts_alone(case, tmp_path):
    """test_timeout.py has a fast one. The first to lose patience ends, so that the other loses it."""
    ranks = run(case, tmp_path)
    assert any(WAITED in error or "expected a batch" in error for error, _, _ in ranks)
    for error, _, _ in ranks:
        assert any(words in error for words in (WAITED, ENDED, "expected a batch of task 'b'")), error
