"""In plain mode on two processes, both ranks run as with `transformers.Trainer`."""

import json
from pathlib import Path

import pytest

from support.forking import fork
from support.plain_two_ranks import compare_all

NAMES = ["accumulation", "resumed", "multitask arguments", "deviation"]
MORE_NAMES = ["dict_evaluation", "group_by_length", "iterable", "own_subclass", "predict", "search with Optuna"]


@pytest.mark.distributed
@pytest.mark.parametrize("names", [NAMES, pytest.param(MORE_NAMES, marks=pytest.mark.slow)])
def test_two_ranks_run_as_stock(names: list[str], tmp_path: Path) -> None:
    finished = fork(compare_all, tmp_path, names, config="ddp", num_processes=2)
    assert finished.returncode == 0, finished.stderr[-4000:]
    ranks = [json.loads((tmp_path / f"rank_{rank}.json").read_text()) for rank in (0, 1)]
    if "deviation" in names:  # the comparison can fail, in the rank where the deviation is
        assert any("generators.python" in line for line in ranks[1].pop("deviation"))
        assert ranks[0].pop("deviation") == []
        names = names[:-1]
    assert ranks == [{name: [] for name in names}] * 2
