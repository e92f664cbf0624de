"""What is said when files are neither on this machine nor to be had from the Hugging Face Hub."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

#: The logger of requests to the Hub, and what the first of its messages on a failure contains.
_REQUESTS, _FAILED, _REPEATS = "huggingface_hub.utils._http", "thrown while requesting", "Retrying in"
#: Seconds after which a failure is said again.
_QUIET = 60.0


class _SayOnce(logging.Filter):
    """Makes one line of the many that a request's retries log."""

    def __init__(self) -> None:
        super().__init__()
        self._said = -_QUIET

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if text.startswith(_REPEATS):
            return False
        if _FAILED not in text:
            return True
        is_first = time.monotonic() - self._said > _QUIET
        self._said = time.monotonic()
        record.msg, record.args = f"the Hub cannot be reached ({text.split(_FAILED)[0].strip()}): trying again ...", ()
        return is_first


def say_retries_once() -> None:
    """Makes `huggingface_hub` log one line when it retries a request, instead of two for every retry."""
    logger = logging.getLogger(_REQUESTS)
    if not any(isinstance(one, _SayOnce) for one in logger.filters):
        logger.addFilter(_SayOnce())
    logging.getLogger("huggingface_hub").propagate = False  # it has a handler


def why_not_in_cache(error: BaseException) -> str | None:
    """
    Says why something that is not on this machine could not be loaded from the Hub.

    Args:
        error (`BaseException`): What a loader raised.

    Returns:
        `str`, *optional*: The reason, without a full stop; `None` if the error has another one.
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import LocalEntryNotFoundError

    found: BaseException | None = error
    while found is not None and not isinstance(found, (LocalEntryNotFoundError, ConnectionError)):
        found = found.__cause__ or found.__context__
    if found is None:
        return None
    reason = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "the Hub cannot be reached"
    home = Path(os.path.expanduser(constants.HF_HOME))
    return f"it is not in the cache ({home}), and {reason}"
