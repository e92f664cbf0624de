"""In plain mode on two processes, both ranks run as with `transformers.Trainer`."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.mark.distributed
def test_two_ranks_run_as_stock(tmp_path: Path) -> None:
    environment = os.environ | {
        "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1",
    }  # fmt: skip
    command = [
        str(Path(sys.executable).parent / "accelerate"), "launch", "--multi_gpu", "--num_processes", "2",
        "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
        "--main_process_port", str(free_port()), str(HERE.parent / "support" / "plain_two_ranks.py"), str(tmp_path),
    ]  # fmt: skip
    launched = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert launched.returncode == 0, launched.stderr[-4000:]
    ranks = [json.loads((tmp_path / f"rank_{rank}.json").read_text()) for rank in (0, 1)]
    # The comparison can fail, in the rank where the deviation is.
    assert ranks[0].pop("deviation") == []
    assert any("generators.python" in line for line in ranks[1].pop("deviation"))
    assert ranks == [{name: [] for name in found} for found in ranks]
    assert len(ranks[0]) == 9
