"""Tasks: what the trainer knows of a benchmark task or of a user's own."""

from .definition import available_tasks
from .errors import DataError
from .loading import load_tasks
from .submission import SubmissionFormat, write_submission
from .task import Task

__all__ = ["DataError", "SubmissionFormat", "Task", "available_tasks", "load_tasks", "write_submission"]
