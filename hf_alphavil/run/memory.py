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

    A plain run's peak holds the parameters, their gradients and the optimizer's state. In an epoch's last phase, an
    αVIL run holds as much, θ0, room for all phases' deltas and all stored optimizer states. The α step, which holds
    more gradients but no optimizer state in use, needs less.

    Args:
        parameters (`Iterable[torch.Tensor]`): The trainable parameters, or this process's shards of them.
        num_tasks (`int`): Number of tasks, T.
        args (`MultitaskSettings`): The settings of phases: where and how deltas and optimizer states are kept.
        num_own (`int`, *optional*): Number of tasks whose phases this process runs. Defaults to all.

    Returns:
        `tuple[float, float]`: Bytes on the parameters' device, and bytes in CPU memory if that is another device.
    """
    parameters = list(parameters)
    most = args.max_auxiliaries_per_epoch
    num_deltas = num_tasks if most is None else min(num_tasks, most + 1)
    # In the end there are states of tasks that only other epochs choose.
    num_own = num_tasks if num_own is None else num_own + num_tasks - num_deltas
    theta = sum(p.numel() * p.element_size() for p in parameters)
    rounded = sum(p.numel() * 2 for p in parameters)  # bfloat16
    delta = rounded if args.delta_dtype == "bfloat16" else theta
    state = 2 * (rounded if args.optimizer_state_dtype == "bfloat16" else theta)
    stored = num_own * state if args.phase_optimizer_state == "per_task" else 0
    is_elsewhere = any(p.device.type != "cpu" for p in parameters)
    deltas_on_cpu = is_elsewhere and args.delta_device == "cpu"
    states_on_cpu = is_elsewhere and args.optimizer_state_device == "cpu"
    bank = theta + num_deltas * delta
    on_cpu = deltas_on_cpu * bank + states_on_cpu * stored
    return bank + stored - on_cpu, on_cpu


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
