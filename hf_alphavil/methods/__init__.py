"""The methods, all behind one base class, and their names."""

from .alphavil import AlphaVIL
from .base import Method, Objective, Objectives
from .deltas import DeltaBank
from .joint import Multitask, Single

METHODS: dict[str, type[Method]] = {method.name: method for method in (AlphaVIL, Multitask, Single)}

__all__ = ["METHODS", "AlphaVIL", "DeltaBank", "Method", "Multitask", "Objective", "Objectives", "Single"]
