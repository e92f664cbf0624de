"""The base class of all kinds of task."""

from __future__ import annotations

from typing import ClassVar

from .heads import KindHead
from .inputs import KindInputs
from .scores import KindScores


class TaskKind(KindInputs, KindHead, KindScores):
    """
    One kind of task: which settings it takes, how a row becomes model inputs ([`KindInputs`]), which head it has
    ([`KindHead`]), how its predictions are scored and written ([`KindScores`]), and how it is described to people
    ([`KindDescription`]).

    To add a kind, write a subclass in a file beside the others and add an instance to `KINDS` (or pass it to
    [`register_kind`]). By default, the methods of the four parts do what single-label classification of a text or a
    pair of texts needs. A subclass must set `name`, `hub_task`, `metrics` and `default_metrics`, and define
    `native_class` and `configure`.

    Methods raise `ValueError` with the reason. Their callers add the task, or the file and line, to the message.
    """

    #: The problem types that a task of this kind may have. The first is the default.
    problem_types: ClassVar[tuple[str | None, ...]] = (None,)

    def of_problem_type(self, problem_type: str | None) -> TaskKind:
        """The kind for tasks of one problem type: another object only if problem types need different methods."""
        return self
