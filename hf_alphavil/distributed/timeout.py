"""How long processes wait for each other."""

from __future__ import annotations

from datetime import timedelta

import torch.distributed as dist
from torch.distributed.distributed_c10d import _set_pg_timeout


def apply_timeout(timeout: timedelta) -> None:
    """
    Makes processes that are connected by gloo stop waiting after a time. Then the waiting process raises an error.

    transformers 5 passes `ddp_timeout` on only for other backends, so that on CPUs processes would wait for torch's
    default of 30 minutes.

    Args:
        timeout (`datetime.timedelta`): The time.
    """
    if dist.is_available() and dist.is_initialized() and dist.get_backend() == "gloo":
        _set_pg_timeout(timeout)
