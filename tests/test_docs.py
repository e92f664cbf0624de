"""The documents name what is there."""

from dataclasses import fields
from pathlib import Path

import pytest

from hf_alphavil.methods import METHODS

METHODS_PAGE = (Path(__file__).parents[1] / "docs" / "methods.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", METHODS)
def test_every_method_and_option_is_documented(name):
    rows = [line for line in METHODS_PAGE.splitlines() if line.startswith(f"| `{name}` |")]
    assert rows
    for option in fields(METHODS[name].Options):
        assert any(f"`{option.name}` (" in row for row in rows), option.name
