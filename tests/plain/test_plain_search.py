"""Hyper-parameter search in plain mode, with Optuna: model_init and a new training loop for every trial."""

from pathlib import Path

from support.plain_harness import assert_same
from support.plain_search import search


def test_search_with_optuna_runs_as_stock(tmp_path: Path) -> None:
    assert_same(search, tmp_path)
