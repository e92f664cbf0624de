"""The memory that methods with forks need beyond a plain run."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from ..settings import MultitaskSettings

logger = logging.getLogger(__name__)


def extra_memory(
    parameters: Iterable[Tensor], num_tasks: int, args: MultitaskSettings, num_own: int | None = None
) -> tuple[float, float]:
    """
    Peak memory of an epoch beyond a plain run, with AdamW, whose state is twice the size of the parameters.

    The peak is in the last phase, before its δ is recorded, or in the α step, after the copy of the optimizer's state
    at the phase's start has been freed.

    Args:
        parameters (`Iterable[torch.Tensor]`): The trainable parameters, or this process's shards of them.
        num_tasks (`int`): Number of tasks, T.
        args (`MultitaskSettings`): `delta_device`, `delta_dtype` and `phase_optimizer_state`.
        num_own (`int`, *optional*): Number of tasks whose phases this process runs. Defaults to all.

    Returns:
        `tuple[float, float]`: Bytes on the parameters' device, and bytes in CPU memory if that is another device.
    """
    parameters = list(parameters)
    theta = sum(p.numel() * p.element_size() for p in parameters)
    delta = sum(p.numel() * 2 for p in parameters) if args.delta_dtype == "bfloat16" else theta
    keeps_states = args.phase_optimizer_state == "per_task"
    # A plain run has one of the T optimizer states.
    states = 2 * ((num_tasks if num_own is None else num_own) - 1) * theta if keeps_states else 0
    copy_of_start = 2 * theta if keeps_states else 0
    # (θ0 and deltas, the rest) in the last phase and in the α step.
    moments = [
        (theta + (num_tasks - 1) * delta, states + copy_of_start),
        (theta + num_tasks * delta, states),
    ]
    if args.delta_device == "cpu" and any(p.device.type != "cpu" for p in parameters):
        return max(rest for _, rest in moments), max(bank for bank, _ in moments)
    return max(bank + rest for bank, rest in moments), 0


def log_expected_memory(parameters: Iterable[Tensor], num_tasks: int, args: MultitaskSettings, num_own: int) -> None:
    """
    Logs the memory that [`extra_memory`] estimates.

    Args:
        parameters (`Iterable[torch.Tensor]`): As in [`extra_memory`].
        num_tasks (`int`): As in [`extra_memory`].
        args (`MultitaskSettings`): As in [`extra_memory`].
        num_own (`int`): As in [`extra_memory`].
    """
    on_device, on_cpu = extra_memory(parameters, num_tasks, args, num_own)
    logger.info(
        "  Expected memory for θ0, deltas and optimizer states of %d tasks beyond a plain run, with AdamW: "
        "%.2f GB on the parameters' device%s (a checkpoint written inside an epoch holds about as much)",
        num_tasks,
        on_device / 1e9,
        f", {on_cpu / 1e9:.2f} GB in CPU memory" if on_cpu else "",
    )
