"""What trackers get, under the names that docs/tracking.md promises."""

import re
from pathlib import Path

from support.toy_run import SIZES, toy_trainer

PAGE = Path(__file__).parents[2] / "docs" / "tracking.md"
#: What every run of Trainer logs.
OF_TRAINER = {"loss", "grad_norm", "learning_rate", "epoch", "train_loss", "train_runtime", "total_flos"}
OF_TRAINER |= {"train_samples_per_second", "train_steps_per_second"}
SPEED = ("runtime", "samples_per_second", "steps_per_second")


def promised():
    """Patterns of the names in the page's table."""
    table = PAGE.read_text(encoding="utf-8").split("## What is logged")[1].split("\n## ")[0]
    names = [name for row in re.findall(r"(?m)^\| (`.*?) \|", table) for name in re.findall(r"`([^`]+)`", row)]
    return [
        re.compile(name.replace("<task>", f"({'|'.join(SIZES)})").replace("<metric>", "accuracy")) for name in names
    ]


def test_tensorboard_gets_the_names_of_the_page(tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "events"))
    trainer = toy_trainer(
        tmp_path / "out", report_to=["tensorboard"], logging_strategy="epoch", eval_strategy="epoch",
        num_train_epochs=3, prune_below=0.9, prune_patience=1,
    )  # fmt: skip
    trainer.train()
    events = EventAccumulator(str(tmp_path / "events"))
    events.Reload()
    names = {tag.removeprefix("train/").replace("eval/", "eval_") for tag in events.Tags()["scalars"]}
    ours = {name for name in names - OF_TRAINER if not name.endswith(SPEED)}
    patterns = promised()
    assert {name for name in ours if not any(pattern.fullmatch(name) for pattern in patterns)} == set()
    # The other objectives of α are logged instead of the loss.
    unseen = [p.pattern for p in patterns if not any(p.fullmatch(name) for name in ours)]
    assert unseen == ["meta_metric", "meta_entropy"]
    for task in SIZES:
        logged = [scalar.value for scalar in events.Scalars(f"train/weight_{task}")]
        assert [round(value, 5) for value in logged] == [
            round(entry["task_weights"][task], 5) for entry in trainer.history
        ]
