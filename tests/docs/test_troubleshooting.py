"""Every message on the page of troubleshooting is one of the code's."""

import ast
import re
from functools import cache

import pytest

from support.pages import ROOT

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
MESSAGES = re.findall(r"(?m)^> (.+)$", PAGE)
#: The sign for a value, in the page and in the code's texts here.
ANYTHING, VALUE = "…", "\0"


@cache
def texts_of_the_code():
    """Every text in the package, with its values as `VALUE`; adjacent literals are one text."""
    texts = []
    for file in sorted((ROOT / "hf_alphavil").rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else VALUE for part in node.values]
                texts.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(re.sub(r"%(?:\.\d+)?[a-z]", VALUE, node.value))
    return texts


def is_a_message(quoted, text):
    pieces = [re.escape(piece) for piece in quoted.split(ANYTHING)]
    return re.search(f"{VALUE}.*?".join(pieces), text, flags=re.DOTALL) is not None


def test_there_are_twenty_messages_or_more():
    assert len(set(MESSAGES)) == len(MESSAGES) >= 20


@pytest.mark.parametrize("message", MESSAGES)
def test_the_code_has_the_message(message):
    assert any(is_a_message(message, text) for text in texts_of_the_code())


def test_every_message_has_a_cause_and_a_cure():
    for message, text in re.findall(r"(?ms)^> (.+?)\n\n(.+?)\n\n", PAGE):
        assert text.startswith("**Cause.** "), message
        assert "**Cure.** " in text, message
