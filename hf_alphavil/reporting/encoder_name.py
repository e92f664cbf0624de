"""What an encoder is called where others read it: its Hub id, or a name that says nothing of this machine."""

from __future__ import annotations

import os
import re
from itertools import pairwise
from pathlib import Path

from .local_paths import is_hub_id

#: How the cache of the Hub calls the folder of a repository.
CACHED = re.compile(r"models--(?P<id>[^/\\]+)")
#: Folders whose names say nothing of the encoder that is in them.
NO_NAMES = re.compile(r"(model|encoder|pretrained|checkpoint|weights|final|best|last|output|out)s?([-_]\d+)?", re.I)


def hub_id_of(base_model: str | None) -> str | None:
    """
    The Hub id of an encoder.

    Args:
        base_model (`str`, *optional*): An id or a folder.

    Returns:
        `str`, *optional*: The id, also of a folder of the Hub's cache; `None` for other folders.
    """
    if base_model is None:
        return None
    if cached := CACHED.search(base_model):
        return cached["id"].replace("--", "/")
    return base_model if is_hub_id(base_model) else None


def encoder_in_words(base_model: str | None) -> str:
    """
    Names an encoder without any path.

    The configuration's `_name_or_path` is not asked: it often names the model that this one was fine-tuned from.

    Args:
        base_model (`str`, *optional*): An id or a folder.

    Returns:
        `str`: The Hub id; else the Python package that the folder is in, or the folder's name, if it says anything;
        else `"a local encoder"`.
    """
    if (known := hub_id_of(base_model)) is not None:
        return known
    parts = Path(os.path.normpath(base_model)).parts if base_model else ()
    packages = [after for before, after in pairwise(parts) if before == "site-packages"]
    name = packages[-1] if packages else (parts[-1] if parts else "")
    return f"{name}, a local encoder" if name and not NO_NAMES.fullmatch(name) else "a local encoder"
