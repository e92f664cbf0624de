"""Keeps the paths of a machine out of what others read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id


def is_hub_id(name: str) -> bool:
    """
    Whether `name` can be a Hub id rather than a local path. This makes no request to the Hub.

    Args:
        name (`str`): An id or a path.

    Returns:
        `bool`: `False` for anything that exists locally or that the Hub does not allow as an id.
    """
    if os.path.exists(name):
        return False
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def without_local_paths(value: Any) -> Any:
    """
    Replaces every local path by its last part, such as `rte` for `/home/me/out/rte`.

    Args:
        value (`Any`): A text, or a mapping or list that holds texts. Anything else is returned as it is.
    """
    if isinstance(value, Mapping):
        return {key: without_local_paths(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_local_paths(item) for item in value]
    if isinstance(value, os.PathLike) or (isinstance(value, str) and _is_local_path(value)):
        return Path(os.path.normpath(value)).name
    return value


def _is_local_path(text: str) -> bool:
    has_parts = "/" in text or os.sep in text
    return has_parts and (os.path.isabs(text) or text.startswith((".", "~")) or os.path.exists(text))
