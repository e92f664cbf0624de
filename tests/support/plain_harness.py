"""Runs one scenario with `transformers.Trainer` and with another class, and compares all that can be seen."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from hf_alphavil import MultitaskTrainer
from support.plain_toys import bert, pad, sentences

VOLATILE = ("_runtime", "_per_second", "_preparation_time")


class EventLog(TrainerCallback):
    """Writes down every event with its step, Trainer's control flags and the state of all generators."""

    def __init__(self) -> None:
        self.events: list[tuple] = []


def _recorder(event: str) -> Callable:
    def record(self: EventLog, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.events.append((event, state.global_step, str(control), sorted(kwargs), generator_digest()))

    return record


for _event in [name for name in dir(TrainerCallback) if name.startswith("on_")]:
    setattr(EventLog, _event, _recorder(_event))


def generator_states() -> dict[str, Any]:
    """States of the python, numpy and torch generators."""
    return {"python": random.getstate(), "numpy": np.random.get_state()[1:], "torch": torch.get_rng_state()}


def generator_digest() -> str:
    """A short name of the three generators' states, the same in every run."""
    states = generator_states()
    numpy_state = repr([part.tolist() if isinstance(part, np.ndarray) else part for part in states["numpy"]])
    text = repr(states["python"]) + numpy_state
    return hashlib.sha256(text.encode() + states["torch"].numpy().tobytes()).hexdigest()[:12]


class Side:
    """One of the two classes under comparison: a scenario builds its trainers by it, and notes results in it."""

    def __init__(self, trainer_class: type, args_class: type, folder: Path) -> None:
        self.trainer_class = trainer_class
        self.args_class = args_class
        self.folder = folder
        self.notes: dict[str, Any] = {}
        self.log = EventLog()

    def args(self, **settings: Any) -> TrainingArguments:
        """Arguments of a quiet run of two epochs that logs every step; `settings` go first."""
        defaults: dict[str, Any] = {
            "output_dir": str(self.folder), "use_cpu": True, "report_to": "none", "disable_tqdm": True,
            "logging_steps": 1, "save_strategy": "no", "num_train_epochs": 2, "learning_rate": 1e-2,
            "per_device_train_batch_size": 4, "per_device_eval_batch_size": 8, "dataloader_pin_memory": False,
        }  # fmt: skip
        return self.args_class(**defaults | settings)

    def trainer(self, settings: dict[str, Any] | None = None, cls: type | None = None, **kwargs: Any) -> Trainer:
        """A trainer of the tiny BERT on 22 rows; `kwargs` go to the constructor."""
        if "model_init" not in kwargs:
            kwargs.setdefault("model", bert())
        if "processing_class" not in kwargs:
            kwargs.setdefault("data_collator", pad)
        kwargs.setdefault("train_dataset", sentences(22))
        kwargs["callbacks"] = [*kwargs.get("callbacks", []), self.log]
        return (cls or self.trainer_class)(args=self.args(**settings or {}), **kwargs)


def observe(scenario: Callable[[Side], Trainer], side: Side) -> dict[str, Any]:
    """Runs a scenario from fixed seeds and returns what it left behind."""
    random.seed(7), np.random.seed(7), torch.manual_seed(7)
    trainer = scenario(side)
    state = dataclasses.asdict(trainer.state)
    optimizer, scheduler = trainer.optimizer, trainer.lr_scheduler
    # A search by Optuna leaves no model; its scenario notes the weights of every trial.
    model = trainer.model and trainer.accelerator.unwrap_model(trainer.model)
    seen = {
        "generators": generator_states(),
        "events": side.log.events,
        "log_history": state.pop("log_history"),
        "state": state,
        "weights": dict(model.state_dict()) if model is not None else None,
        "optimizer": optimizer.state_dict() if hasattr(optimizer, "state_dict") else None,
        "scheduler": scheduler.state_dict() if hasattr(scheduler, "state_dict") else None,
        "callbacks": [type(callback).__name__ for callback in trainer.callback_handler.callbacks],
        "notes": side.notes,
    }
    trainer.accelerator.wait_for_everyone()
    if trainer.is_world_process_zero():
        seen["files"] = {str(file.relative_to(side.folder)): file_content(file) for file in files_of(side.folder)}
    trainer.accelerator.wait_for_everyone()
    return without_folder(seen, str(side.folder))


def files_of(folder: Path) -> list[Path]:
    """All files below a folder."""
    return sorted(file for file in folder.rglob("*") if file.is_file())


def file_content(file: Path) -> Any:
    """The content of a checkpoint's file, in comparable form. Of the pickled arguments, only the file name counts."""
    if file.name == "training_args.bin":
        return None
    if file.suffix == ".json":
        return json.loads(file.read_text())
    if file.suffix in (".pt", ".pth"):
        return torch.load(file, weights_only=False)
    return file.read_bytes()


def without_folder(value: Any, folder: str) -> Any:
    """Replaces the run's folder in all strings, and drops clock times."""
    if isinstance(value, str):
        return value.replace(folder, "<folder>")
    if isinstance(value, dict):
        return {
            key: without_folder(item, folder)
            for key, item in value.items()
            if not (isinstance(key, str) and key.endswith(VOLATILE))
        }
    if isinstance(value, (list, tuple)):
        return [without_folder(item, folder) for item in value]
    return value


def differences(a: Any, b: Any, where: str = "") -> list[str]:
    """Places where two nested values differ by type, key, shape or a single bit."""
    if type(a) is not type(b):
        return [f"{where}: {type(a).__name__} {a!r:.80} / {type(b).__name__} {b!r:.80}"]
    if isinstance(a, dict):
        found = [] if list(a) == list(b) else [f"{where}: keys {list(a)} / {list(b)}"]
        return found + [line for key in a if key in b for line in differences(a[key], b[key], f"{where}.{key}")]
    if isinstance(a, (list, tuple)):
        found = [] if len(a) == len(b) else [f"{where}: {len(a)} / {len(b)} items"]
        return found + [
            line for i, (x, y) in enumerate(zip(a, b, strict=False)) for line in differences(x, y, f"{where}[{i}]")
        ]
    if isinstance(a, torch.Tensor):
        if a.dtype != b.dtype or a.shape != b.shape:
            return [f"{where}: {a.dtype} {tuple(a.shape)} / {b.dtype} {tuple(b.shape)}"]
        same = torch.equal(a.detach().contiguous().flatten().view(torch.uint8), b.flatten().view(torch.uint8))
        return [] if same else [f"{where}: tensors differ by up to {(a.double() - b.double()).abs().max()}"]
    if isinstance(a, np.ndarray):
        same = a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        return [] if same else [f"{where}: arrays differ"]
    same = repr(a) == repr(b) if isinstance(a, float) else a == b
    return [] if same else [f"{where}: {a!r:.200} / {b!r:.200}"]


def compare(
    scenario: Callable[[Side], Trainer],
    folder: Path,
    trainer_class: type = MultitaskTrainer,
    args_class: type = TrainingArguments,
) -> list[str]:
    """Differences between stock Trainer's run of a scenario and another class's."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        stock = observe(scenario, Side(Trainer, TrainingArguments, folder / "stock"))
        other = observe(scenario, Side(trainer_class, args_class, folder / "other"))
    finally:
        torch.set_num_threads(threads)
    return differences(stock, other)


def assert_same(
    scenario: Callable[[Side], Trainer], folder: Path, args_class: type = TrainingArguments, **kwargs: Any
) -> None:
    """Asserts that a scenario runs alike, bit for bit, with `transformers.Trainer` and with `MultitaskTrainer`."""
    found = compare(scenario, folder, args_class=args_class, **kwargs)
    assert not found, "\n".join(["stock / other:", *found[:20]])
