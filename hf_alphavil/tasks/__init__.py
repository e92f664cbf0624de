"""Tasks of the benchmarks and of the user: their settings, rows, metrics and prediction files."""

from ..kinds import SubmissionFormat, TaskSpec
from .errors import DataError
from .loading import load_tasks
from .registry import BENCHMARKS, available_tasks, diagnostics
from .submission import submission_format, write_submission
from .submission_set import check_test_sets, describe_submission, make_submission
from .task import Task

__all__ = [
    "BENCHMARKS",
    "DataError",
    "SubmissionFormat",
    "Task",
    "TaskSpec",
    "available_tasks",
    "check_test_sets",
    "describe_submission",
    "diagnostics",
    "load_tasks",
    "make_submission",
    "submission_format",
    "write_submission",
]
