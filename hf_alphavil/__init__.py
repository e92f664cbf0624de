"""
αVIL (arXiv 2405.07769) for the Hugging Face Trainer: a small target task, trained with auxiliary data's help.

Each name is imported when it is first used, because torch and transformers take seconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .auxiliaries import add_auxiliaries
    from .modeling import MultitaskConfig, MultitaskModel
    from .tasks import Task, load_tasks
    from .trainer import MultitaskTrainer
    from .training_args import MultitaskTrainingArguments

__version__ = "0.1.0"

__all__ = [
    "MultitaskConfig",
    "MultitaskModel",
    "MultitaskTrainer",
    "MultitaskTrainingArguments",
    "Task",
    "add_auxiliaries",
    "load_tasks",
]

_MODULES = {
    "MultitaskConfig": "modeling",
    "MultitaskModel": "modeling",
    "MultitaskTrainer": "trainer",
    "MultitaskTrainingArguments": "training_args",
    "Task": "tasks",
    "add_auxiliaries": "auxiliaries",
    "load_tasks": "tasks",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
