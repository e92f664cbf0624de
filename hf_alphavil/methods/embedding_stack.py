"""The deltas of an embedding, most of whose rows often do not move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .delta_stack import DeltaStack


class _MovedRows(NamedTuple):
    """
    The embedding's rows that any of some phases has moved.

    Args:
        phases (`tuple[int, ...]`): The phases' rows of the stack.
        numbers (`torch.Tensor`): Numbers of the moved rows.
        deltas (`torch.Tensor` of shape `(phases, elements)`): Their deltas.
    """

    phases: tuple[int, ...]
    numbers: Tensor
    deltas: Tensor


class EmbeddingStack(DeltaStack):
    """
    A [`DeltaStack`] whose merges and inner products pass over the embedding's rows that no phase has moved.

    Optimizers without weight decay move only the rows of tokens that a phase has seen. The moved rows are copied for
    this. If the copy needed more memory than the embedding, the stack is an ordinary one. Arguments are those of
    [`DeltaStack`].
    """

    #: The rows that had moved at the last merge or product; `None` if not known or too many.
    _moved: _MovedRows | None = None
    _is_known = False
    # Version of θ after the last merge: as long as nothing else has written to it, it is θ0 in all other rows.
    _merged_version: int | None = None

    def record(self, number: int, theta: Tensor, start: Tensor) -> None:
        self._moved, self._is_known = None, False
        super().record(number, theta, start)

    def write(self, number: int, delta: Tensor) -> None:
        self._moved, self._is_known = None, False
        super().write(number, delta)

    def merge_into(self, theta: Tensor, start: Tensor, rows: Sequence[int], coefficients: Tensor | None) -> None:
        moved = self._moved_by(rows)
        if moved is None or not theta.is_contiguous():
            super().merge_into(theta, start, rows, coefficients)
            return
        if theta._version != self._merged_version:
            theta.copy_(start)
        if coefficients is None:
            coefficients = torch.ones(len(rows), dtype=theta.dtype)
        coefficients = coefficients.to(theta.device, non_blocking=True)
        start_rows = start.index_select(0, moved.numbers)
        merged = torch.addmv(start_rows.flatten(), moved.deltas.T, coefficients)
        theta.index_copy_(0, moved.numbers, merged.view_as(start_rows))
        self._merged_version = theta._version

    def products(self, gradient: Tensor, rows: Sequence[int]) -> Tensor:
        moved = self._moved_by(rows)
        if moved is None:
            return super().products(gradient, rows)
        return torch.mv(moved.deltas, gradient.index_select(0, moved.numbers).flatten())

    def gramian(self, rows: Sequence[int]) -> Tensor:
        moved = self._moved_by(rows)
        return super().gramian(rows) if moved is None else moved.deltas @ moved.deltas.T

    def _moved_by(self, rows: Sequence[int]) -> _MovedRows | None:
        if not self._is_known or (self._moved is not None and self._moved.phases != tuple(rows)):
            self._moved = self._find_moved(rows)
            self._is_known, self._merged_version = True, None
        return self._moved

    def _find_moved(self, rows: Sequence[int]) -> _MovedRows | None:
        if not (self._is_direct and rows):
            return None
        moved = torch.zeros(self._shape[0], dtype=torch.bool, device=self.matrix.device)
        for number in rows:
            # Not a norm: squares of small deltas would be 0. NaN is neither 0 nor lost.
            delta = self.row(number)
            moved |= (delta.amax(dim=1) != 0) | (delta.amin(dim=1) != 0)
            if len(rows) * int(moved.sum()) > len(moved):
                return None
        numbers = moved.nonzero().flatten()
        deltas = torch.stack([self.row(phase).index_select(0, numbers).flatten() for phase in rows])
        return _MovedRows(tuple(rows), numbers, deltas)
