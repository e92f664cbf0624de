"""
αVIL (arXiv 2405.07769) for the Hugging Face Trainer: a small target task, trained with auxiliary data's help.

Importing the package registers [`MultitaskModel`] with the Auto classes of transformers.
"""

from .auxiliaries import add_auxiliaries
from .modeling import MultitaskConfig, MultitaskModel
from .run.multitask_callback import MultitaskCallback
from .tasks import Task, load_tasks
from .trainer import MultitaskTrainer
from .training_args import MultitaskTrainingArguments
from .version import __version__ as __version__

__all__ = [
    "MultitaskCallback",
    "MultitaskConfig",
    "MultitaskModel",
    "MultitaskTrainer",
    "MultitaskTrainingArguments",
    "Task",
    "add_auxiliaries",
    "load_tasks",
]
