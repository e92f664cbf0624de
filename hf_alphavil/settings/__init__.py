"""
The settings of multitask training: one group a file, each field with its help text, choices and checks.

This room knows no method. `training_args.py` adds the checks that need the registry of methods.
"""

from .alpha import AlphaArguments
from .method import MethodArguments
from .multitask import MultitaskSettings
from .phases import PhaseArguments
from .sampling import SamplingArguments
from .task import TaskArguments
from .weights import WeightArguments

__all__ = [
    "AlphaArguments",
    "MethodArguments",
    "MultitaskSettings",
    "PhaseArguments",
    "SamplingArguments",
    "TaskArguments",
    "WeightArguments",
]
