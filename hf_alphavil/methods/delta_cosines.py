"""Cosines between the deltas of an epoch: which tasks pull the shared parameters the same way."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def delta_cosines(gramians: Tensor, phases: Sequence[str]) -> dict[str, dict[str, float]]:
    """
    cos(δ_p, δ_q) over the parameters that both phases have moved. A task's own head does not count.

    Args:
        gramians (`torch.Tensor`): [`DeltaBank.gramians`], summed over all shards.
        phases (`Sequence[str]`): The phases, in the order of the Gram matrices.

    Returns:
        `dict[str, dict[str, float]]`: Each pair once, by the earlier phase and the later one; 0 if no parameter was
        moved by both, NaN if a delta is not finite.
    """
    squares = gramians.diagonal(dim1=1, dim2=2)  # of shape (parameters, phases)
    moved = (squares != 0).to(squares.dtype)
    lengths = (squares.T @ moved).sqrt()  # ‖δ_p‖ over the parameters that q has moved
    both = lengths * lengths.T
    cosines = (gramians.sum(dim=0) / both).where(both != 0, 0.0).tolist()
    return {
        one: {other: cosines[p][q] for q, other in enumerate(phases) if q > p} for p, one in enumerate(phases[:-1])
    }
