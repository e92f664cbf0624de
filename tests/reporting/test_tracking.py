"""What trackers get, under the names that docs/tracking.md promises."""

import json
import re
import sqlite3
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import pytest

from support.toy_run import SIZES, toy_trainer

PAGE = Path(__file__).parents[2] / "docs" / "tracking.md"
#: What every run of Trainer logs.
OF_TRAINER = {"loss", "grad_norm", "learning_rate", "epoch", "train_loss", "train_runtime", "total_flos"}
OF_TRAINER |= {"train_samples_per_second", "train_steps_per_second"}
OF_TRAINER |= {"global_step"}  # of Trackio
HAS_TRACKIO = find_spec("trackio") is not None
SPEED = ("runtime", "samples_per_second", "steps_per_second")


def promised():
    """Patterns of the names in the page's table."""
    table = PAGE.read_text(encoding="utf-8").split("## What is logged")[1].split("\n## ")[0]
    names = [name for row in re.findall(r"(?m)^\| (`.*?) \|", table) for name in re.findall(r"`([^`]+)`", row)]
    return [
        re.compile(name.replace("<task>", f"({'|'.join(SIZES)})").replace("<metric>", "accuracy")) for name in names
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that reports to the trackers that are installed: its folder, and its history."""
    folder, trackers = tmp_path_factory.mktemp("tracked"), ["tensorboard", *(["trackio"] if HAS_TRACKIO else [])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENSORBOARD_LOGGING_DIR", str(folder / "events"))
        patch.setenv("TRACKIO_DIR", str(folder / "trackio"))
        trainer = toy_trainer(
            folder / "out", report_to=trackers, logging_strategy="epoch", eval_strategy="epoch",
            num_train_epochs=3, prune_below=0.9, prune_patience=1,
        )  # fmt: skip
        trainer.train()
    return folder, trainer.history


def check_scalars(scalars, history):
    """`scalars` has the values by name, as the tracker shows them."""
    names = {name.removeprefix("train/").replace("eval/", "eval_") for name in scalars}
    ours = {name for name in names - OF_TRAINER if not name.endswith(SPEED)}
    patterns = promised()
    assert {name for name in ours if not any(pattern.fullmatch(name) for pattern in patterns)} == set()
    # The other objectives of α are logged instead of the loss.
    unseen = [p.pattern for p in patterns if not any(p.fullmatch(name) for name in ours)]
    assert unseen == ["meta_metric", "meta_entropy"]
    for task in SIZES:
        logged = scalars[f"train/weight_{task}"]
        assert [round(value, 5) for value in logged] == [round(entry["task_weights"][task], 5) for entry in history]


def test_tensorboard_gets_the_names_of_the_page(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder, history = run
    events = EventAccumulator(str(folder / "events"))
    events.Reload()
    scalars = {name: [scalar.value for scalar in events.Scalars(name)] for name in events.Tags()["scalars"]}
    check_scalars(scalars, history)


@pytest.mark.skipif(not HAS_TRACKIO, reason="trackio is not installed: pip install trackio")
def test_trackio_gets_the_names_of_the_page_in_its_local_store(run):
    folder, history = run
    with closing(sqlite3.connect(folder / "trackio" / "huggingface.db")) as store:
        logged = [json.loads(text) for (text,) in store.execute("SELECT metrics FROM metrics ORDER BY id")]
    names = {name for entry in logged for name in entry}
    check_scalars({name: [entry[name] for entry in logged if name in entry] for name in names}, history)
