"""
The settings of multitask training: one group per file, each field with its help text, choices and checks.

This package does not know the methods. `training_args.py` adds the checks that need them.
"""

from .alpha import AlphaArguments
from .hub import HubArguments
from .method import MethodArguments
from .multitask import MultitaskSettings
from .phases import PhaseArguments
from .sampling import SamplingArguments
from .task import TaskArguments
from .weights import WeightArguments

__all__ = [
    "AlphaArguments",
    "HubArguments",
    "MethodArguments",
    "MultitaskSettings",
    "PhaseArguments",
    "SamplingArguments",
    "TaskArguments",
    "WeightArguments",
]
