"""Functions and objects in words that are the same in every process, so that two runs' own code can be compared."""

from __future__ import annotations

import enum
import functools
import inspect
import os
from collections.abc import Iterable, Iterator, Mapping
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase, Trainer, TrainingArguments

from ..data.content_hash import value_hash
from ..data.tables import is_of_library
from ..files.digest import Digest

#: Packages whose code is compared by their version.
PACKAGES = ("hf_alphavil", "transformers", "torch", "accelerate", "peft")
_NOT_OWN = frozenset({*PACKAGES, "builtins", "functools", "datasets", "numpy"})
#: Their content is compared elsewhere, or changes while a run trains.
_NAMED_ONLY = (nn.Module, Optimizer, Trainer, TrainingArguments, PreTrainedTokenizerBase, Dataset)
_COUNTERS = frozenset({"last_epoch"})
_PLAIN = (bool, int, float, str, bytes, type(None))
_MAX_TEXT = 200
_MAX_DEPTH = 20


def describe_code(value: Any) -> str:
    """
    Describes a function, a class or an object, without any address in memory.

    A function is described by its name and a hash of its bytecode, defaults, closure, and the constants, functions and
    classes of its own module that it uses. An object is described by its class, whose methods are described in the
    same way, and by the attributes that are named like arguments of its `__init__` (`rate` or `_rate` for an argument
    `rate`). Texts that are paths do not count, nor does the code of packages that are compared by their version.

    Args:
        value (`Any`): The function, class or object.
    """
    try:
        return _Description().of(value)
    except Exception:  # an object may do anything when it is looked at, and must not end the run
        return _name(type(value))


def own_classes(kind: type) -> list[type]:
    """
    The class and those of its base classes that are not of a package that is compared by its version.

    Args:
        kind (`type`): The class.
    """
    return [one for one in kind.__mro__ if _is_own(one)]


def describe_constants(value: Any) -> str:
    """
    Describes the class of an object, and its numbers and texts that are named like arguments of its `__init__`.

    Args:
        value (`Any`): The object, such as a module of a model, whose other parts are compared elsewhere.
    """
    constants = {name: one for name, one in vars(value).items() if _is_constant(one)}
    description = _Description()
    return f"{description.of(type(value))}({description.arguments(type(value), constants)})"


class _Description:
    """One description. What it has come across before is only named."""

    def __init__(self) -> None:
        self._seen: dict[int, Any] = {}
        self._depth = 0

    def of(self, value: Any) -> str:
        if isinstance(value, str):
            return _describe_text(value)
        if isinstance(value, (*_PLAIN, enum.Enum, torch.dtype, torch.device)):
            return f"{value!r}"
        if isinstance(value, (torch.Tensor, np.ndarray)):
            return f"{type(value).__name__} {list(value.shape)} (content {value_hash(value)[:8]})"
        if self._depth > _MAX_DEPTH:
            return "..."
        self._depth += 1
        try:
            return self._of_container(value) or self._of_code(value)
        finally:
            self._depth -= 1

    def _of_container(self, value: Any) -> str | None:
        if isinstance(value, Mapping):
            return f"{{{_short(', '.join(f'{self.of(key)}: {self.of(inner)}' for key, inner in value.items()))}}}"
        if isinstance(value, (list, tuple)):
            return f"[{_short(', '.join(map(self.of, value)))}]"
        if isinstance(value, (set, frozenset)):
            return f"{{{_short(', '.join(sorted(map(self.of, value))))}}}"
        return None

    def _of_code(self, value: Any) -> str:
        if isinstance(value, functools.partial):
            named = [f"{name}={self.of(inner)}" for name, inner in value.keywords.items()]
            return f"{self.of(value.func)}({', '.join([*map(self.of, value.args), *named])})"
        if isinstance(value, MethodType):
            return f"{self.of(value.__self__)}.{value.__func__.__name__}"
        if isinstance(value, FunctionType):
            return self._with_code(value, self._function_parts)
        if isinstance(value, type):
            own = own_classes(value)
            return self._with_code(own[0], self._class_parts) if own else _name(value)  # FSDP2 makes subclasses
        attributes = getattr(value, "__dict__", {})
        if "__wrapped__" in attributes:
            return self.of(attributes["__wrapped__"])
        if "__name__" in attributes or (not attributes and hasattr(value, "__name__")):  # a module; a function in C
            return _name(value)
        if isinstance(value, _NAMED_ONLY) or is_of_library(value) or id(value) in self._seen:
            return _name(type(value))
        self._seen[id(value)] = value
        return f"{self.of(type(value))}({self.arguments(type(value), attributes)})"

    def arguments(self, kind: type, attributes: Mapping[str, Any]) -> str:
        found = {}
        for name in _names_of_arguments(kind):
            for attribute in (name, f"_{name}", f"{name}s", f"_{name}s"):
                if attribute in attributes:
                    found[name] = self.of(attributes[attribute])
                    break
        return ", ".join(f"{name}={text}" for name, text in found.items())

    def _with_code(self, value: Any, parts: Any) -> str:
        if id(value) in self._seen or not _is_own(value):
            return _name(value)
        self._seen[id(value)] = value
        return f"{_name(value)} (code {_hash(parts(value))})"

    def _class_parts(self, kind: type) -> Iterator[str]:
        for one in own_classes(kind):
            for name, value in sorted(vars(one).items()):
                if isinstance(value, property):
                    value = value.fget
                elif isinstance(value, (staticmethod, classmethod)):
                    value = value.__func__
                if isinstance(value, FunctionType) or (not name.startswith("__") and _is_constant(value)):
                    yield f"{name}={self.of(value)}"

    def _function_parts(self, function: FunctionType) -> Iterator[str]:
        code = function.__code__
        yield from _code_parts(code, function.__doc__)
        yield self.of(function.__defaults__)
        yield self.of(function.__kwdefaults__)
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            if name != "__class__":
                yield f"{name}={self.of(_contents(cell))}"
        for name in sorted(set(_global_names(code)) & function.__globals__.keys()):
            value = function.__globals__[name]
            is_code = isinstance(value, (FunctionType, type)) and value.__module__ == function.__module__
            if not name.startswith("__") and (is_code or _is_constant(value)):
                yield f"{name}={self.of(value)}"


def _describe_text(value: str) -> str:
    return "(a path)" if os.sep in value or "/" in value else _short(repr(value))


def _short(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}... ({_hash([text])})"


def _contents(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # the variable has no value yet
        return None


def _names_of_arguments(kind: type) -> list[str]:
    """Names of the arguments with which a class and its base classes are made."""
    makers = [maker for one in kind.__mro__ if isinstance(maker := vars(one).get("__init__"), FunctionType)]
    names = dict.fromkeys(name for maker in makers for name in list(inspect.signature(maker).parameters)[1:])
    return [name for name in names if name not in _COUNTERS]


def _code_parts(code: CodeType, documentation: str | None = None) -> Iterator[str]:
    yield code.co_code.hex()
    yield repr(code.co_names)
    for value in code.co_consts:
        if isinstance(value, CodeType):
            yield from _code_parts(value)
        elif isinstance(value, frozenset):  # whose order changes from process to process
            yield repr(sorted(map(repr, value)))
        elif documentation is None or value != documentation:
            yield repr(value)


def _global_names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for value in code.co_consts:
        if isinstance(value, CodeType):
            yield from _global_names(value)


def _is_constant(value: Any) -> bool:
    return all(map(_is_constant, value)) if isinstance(value, (list, tuple)) else isinstance(value, _PLAIN)


def _is_own(value: Any) -> bool:
    return (value.__module__ or "").split(".")[0] not in _NOT_OWN


def _name(value: Any) -> str:
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", value.__name__)
    return name if module in (None, "__main__", "builtins") else f"{module}.{name}"


def _hash(parts: Iterable[str]) -> str:
    return Digest(*parts).hexdigest()[:8]
