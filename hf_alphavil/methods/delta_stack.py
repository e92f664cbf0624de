"""The deltas of one parameter as rows of a matrix, and their sums and inner products."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .storage import Storage, loaded

#: Columns that [`DeltaStack.gramian`] converts at a time.
_CHUNK = 1 << 20


class DeltaStack:
    """
    A matrix of shape `(phases, elements)`, whose rows are the deltas of one parameter, flattened.

    If the matrix has the parameter's device and dtype, a merge and all inner products take one matrix–vector product
    each. Otherwise they take one row after the other, so that no more than a row is converted or moved at a time.

    Args:
        num_rows (`int`): Number of phases.
        like (`torch.Tensor`): The parameter's shard on this process.
        storage (`Storage`): Where and in which dtype the matrix is kept.
    """

    def __init__(self, num_rows: int, like: Tensor, storage: Storage) -> None:
        #: The deltas, of shape `(phases, elements)`.
        self.matrix = storage.empty_deltas((num_rows, like.numel()), like)
        self._shape = like.shape
        self._is_direct = self.matrix.dtype == like.dtype and self.matrix.device == like.device

    def row(self, number: int) -> Tensor:
        """`torch.Tensor`: A row in the parameter's shape, as a view."""
        return self.matrix.select(0, number).view(self._shape)

    def record(self, number: int, theta: Tensor, start: Tensor) -> None:
        """
        Writes θ − θ0 into a row.

        Args:
            number (`int`): The row.
            theta (`torch.Tensor`): The parameter's shard.
            start (`torch.Tensor`): θ0, as stored.
        """
        row = self.row(number)
        if row.device == theta.device:
            torch.sub(theta, start, out=row)
        else:
            self.write(number, theta - loaded(start, theta))

    def write(self, number: int, delta: Tensor) -> None:
        """
        Writes a delta into a row.

        Args:
            number (`int`): The row.
            delta (`torch.Tensor`): The delta, on any device.
        """
        # Rounded before the copy, which then moves half the bytes.
        self.row(number).copy_(delta.to(self.matrix.dtype))

    def merge_into(self, theta: Tensor, start: Tensor, rows: Sequence[int], coefficients: Tensor | None) -> None:
        """
        Sets θ to θ0 + Σ c_p δ_p.

        Args:
            theta (`torch.Tensor`): The parameter's shard, which is overwritten.
            start (`torch.Tensor`): θ0, as stored.
            rows (`Sequence[int]`): The phases' rows.
            coefficients (`torch.Tensor`, *optional*):
                c, one per row, in the dtype of `theta`, on the CPU. Without it, every coefficient is 1.
        """
        if coefficients is None:
            coefficients = torch.ones(len(rows), dtype=theta.dtype)
        if self._is_direct and theta.is_contiguous():
            coefficients = coefficients.to(theta.device, non_blocking=True)
            torch.addmv(start.flatten(), self._selected(rows).T, coefficients, out=theta.view(-1))
            return
        theta.copy_(start)
        for number, coefficient in zip(rows, coefficients.tolist(), strict=True):
            theta.add_(loaded(self.row(number), theta), alpha=coefficient)

    def products(self, gradient: Tensor, rows: Sequence[int]) -> Tensor:
        """
        ⟨g, δ_p⟩ of every phase.

        Args:
            gradient (`torch.Tensor`): g.
            rows (`Sequence[int]`): The phases' rows.

        Returns:
            `torch.Tensor`: Of shape `(len(rows),)`, on the gradient's device.
        """
        flat = gradient.flatten()
        if self._is_direct:
            return torch.mv(self._selected(rows), flat)
        return torch.stack([torch.dot(flat, loaded(self.matrix.select(0, number), flat)) for number in rows])

    def gramian(self, rows: Sequence[int]) -> Tensor:
        """
        ⟨δ_p, δ_q⟩ of all pairs of phases.

        Deltas stay where they are kept. Those in half precision are multiplied in float32, a part at a time.

        Args:
            rows (`Sequence[int]`): The phases' rows.

        Returns:
            `torch.Tensor`: Of shape `(len(rows), len(rows))`, on the device of the matrix.
        """
        return _gramian(self._selected(rows))

    def _selected(self, rows: Sequence[int]) -> Tensor:
        """The matrix, or a copy of some rows if a phase left no delta."""
        return (
            self.matrix
            if len(rows) == len(self.matrix)
            else self.matrix.index_select(0, torch.tensor(rows, device=self.matrix.device))
        )


def _gramian(matrix: Tensor) -> Tensor:
    dtype = torch.promote_types(matrix.dtype, torch.float32)
    if matrix.dtype == dtype:
        return matrix @ matrix.T
    total = torch.zeros(len(matrix), len(matrix), dtype=dtype, device=matrix.device)
    for part in matrix.split(_CHUNK, dim=1):
        total.addmm_(part.to(dtype), part.to(dtype).T)
    return total
