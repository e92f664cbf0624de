"""Own code in words: the same in every process, and other words for other code."""

import functools
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import DataCollatorWithPadding, EarlyStoppingCallback, TrainingArguments

from hf_alphavil.checkpointing.code_description import describe_code
from support.kinds_run import every_kind, word_tokenizer

SOURCE = '''
import dataclasses, functools
import numpy as np
import torch
from transformers import TrainerCallback

RATE = 0.5
COLUMNS = ("x", "y")
FOLDER = "/first/folder"

def helper(value):
    return value * RATE

def function(rows, scale=1.0, *, key="x"):
    """First words."""
    names = {"alpha", "beta", "gamma", "delta"}
    kept = [row for row in rows if row in {"one", "two", "three"}]
    return helper(scale), COLUMNS, FOLDER, kept, names

def factory(weights, floor):
    def inner(rows):
        return weights, floor, function
    return inner

@functools.lru_cache
def cached(value):
    return value + 1

@torch.no_grad()
def decorated(value):
    return helper(value)

class Callback(TrainerCallback):
    limit = 3

    def __init__(self, rate, folder="a/b"):
        super().__init__()
        self._rate, self.folder, self.seen = rate, folder, []

    @property
    def double(self):
        return 2 * self._rate

    @staticmethod
    def on(value):
        return value

    def on_step_end(self, *args, **kwargs):
        self.seen.append(RATE)

@dataclasses.dataclass
class Collator:
    function: object
    size: int = 2

    def __call__(self, rows):
        return self.function(rows)[: self.size]

values = {
    "function": function,
    "partial": functools.partial(function, scale=2.0),
    "lambda": lambda rows: [row for row in rows],
    "closure": factory(torch.ones(3), 0.5),
    "array": factory(np.arange(4), 0.5),
    "cached": cached,
    "decorated": decorated,
    "callback": Callback(0.1),
    "method": Callback(0.1).on_step_end,
    "collator": Collator(function),
    "class": Callback,
    "callable in a list": [function, {"a": cached}],
}
'''


def run_source(source):
    """The source's values, as a script of this name makes them."""
    module = types.ModuleType("script")
    exec(compile(source, "script.py", "exec"), vars(module))
    return module.values


def descriptions(source):
    return {name: describe_code(value) for name, value in run_source(source).items()}


def test_the_same_source_gives_the_same_words():
    first, second = descriptions(SOURCE), descriptions(SOURCE)
    assert first == second
    assert "0x" not in str(first)
    assert all("code" in text for text in first.values())


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("value * RATE", "value + RATE", {"function", "partial", "decorated", "collator", "closure", "array"}),
        ("RATE = 0.5", "RATE = 0.25", {"function", "partial", "decorated", "collator", "callback", "method", "class"}),
        ('COLUMNS = ("x", "y")', 'COLUMNS = ("x", "z")', {"function"}),
        ('{"one", "two", "three"}', '{"one", "two", "four"}', {"function"}),
        ("scale=1.0", "scale=1.5", {"function"}),
        ('key="x"', 'key="y"', {"function"}),
        ("scale=2.0", "scale=3.0", {"partial"}),
        ("row for row in rows]", "row for row in rows if row]", {"lambda"}),
        ("torch.ones(3)", "torch.zeros(3)", {"closure"}),
        ("np.arange(4), 0.5", "np.arange(4), 0.25", {"array"}),
        ("value + 1", "value + 2", {"cached"}),
        ("@torch.no_grad()\n", "", {"decorated"}),
        ("limit = 3", "limit = 4", {"callback", "method", "class"}),
        ("Callback(0.1),", "Callback(0.2),", {"callback"}),
        ("2 * self._rate", "3 * self._rate", {"callback", "class"}),
        ("size: int = 2", "size: int = 3", {"collator"}),
    ],
)
def test_other_code_gives_other_words(old, new, changed):
    assert old in SOURCE
    before, after = descriptions(SOURCE), descriptions(SOURCE.replace(old, new, 1))
    assert changed <= {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("First words", "Other words"),
        ("/first/folder", "/second/folder"),
        ('folder="a/b"', 'folder="c/d"'),
        ("\ndef factory", "\n# A comment, and other lines.\n\n\ndef factory"),
        ("def inner(rows):", "def inner(rows) -> tuple:"),
    ],
)
def test_what_does_not_count(old, new):
    assert old in SOURCE
    assert descriptions(SOURCE) == descriptions(SOURCE.replace(old, new, 1))


def test_a_counter_that_a_run_changes_does_not_count():
    callback = run_source(SOURCE)["callback"]
    before = describe_code(callback)
    callback.on_step_end()
    assert describe_code(callback) == before


def test_objects_of_packages():
    """Their arguments count, and neither rows nor addresses."""
    tokenizer = word_tokenizer()
    collators = [DataCollatorWithPadding(tokenizer, pad_to_multiple_of=number) for number in (8, 16)]
    assert "pad_to_multiple_of=8" in describe_code(collators[0])
    assert describe_code(collators[0]) != describe_code(collators[1])
    one, other = (describe_code(every_kind()["pair"].compute_metrics) for _ in range(2))
    assert one == other
    assert "labels=['a', 'b']" in one
    patience = EarlyStoppingCallback(4)
    assert "early_stopping_patience=4" in describe_code(patience)
    values = [
        torch.nn.functional.cross_entropy, torch.relu, np.add, max, functools, torch.nn.Linear(2, 3),
        TrainingArguments, object(), patience.on_evaluate, torch.float16, b"bytes", {1: {2, 3}}, iter([]),
        Exception("x"),
    ]  # fmt: skip
    assert "0x" not in str([describe_code(value) for value in values])


def test_no_object_ends_a_run():
    class Hostile:
        @property
        def __dict__(self):
            raise RuntimeError("not for you")

    loop = []
    loop.append(loop)
    assert "Hostile" in describe_code(Hostile())
    assert "..." in describe_code(loop)
    assert len(describe_code(["text"] * 100_000)) < 300


@pytest.mark.slow
def test_a_new_process_says_the_same(tmp_path):
    """Sets of texts have another order there than here, and hashes another seed."""
    script = tmp_path / "other.py"
    lines = [
        "import json",
        "from checkpointing_words import descriptions, SOURCE",
        "print(json.dumps(descriptions(SOURCE)))",
    ]
    script.write_text("\n".join(lines).replace("checkpointing_words", Path(__file__).stem))
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    result = subprocess.run(
        [sys.executable, str(script)],
        env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(result.stdout.splitlines()[-1]) == descriptions(SOURCE)
