"""
The files of tokenised rows that runs share. Each has a record of its content, without which it is not read.

By hand on top of `Dataset.map`, whose own cache does not notice a damaged file.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

from ..files.atomic_file import atomic_write
from ..files.digest import file_checksum

logger = logging.getLogger(__name__)


class TokenCache:
    """
    The cached tokenisation of one dataset.

    A file is read only if its record (`<file>.json`) names the same fingerprint and number of rows and has the hash of
    the file's bytes. Otherwise the file is removed, so that it is written again.

    Args:
        name (`str`): Names the rows, in the file's name.
        fingerprint (`str`): A hash of everything on which the tokenised rows depend.
        num_rows (`int`): Number of rows.

    Attributes:
        file (`str`, *optional*):
            The file; `None`, for memory, if caching is off or the file cannot be written.
        is_filled (`bool`):
            Whether the file holds the rows of an earlier run.
    """

    def __init__(self, name: str, fingerprint: str, num_rows: int) -> None:
        import datasets

        self._key = {"fingerprint": fingerprint, "rows": num_rows}
        safe_name = "".join(character if character.isalnum() or character in "-_" else "_" for character in name)
        self._path = Path(datasets.config.HF_DATASETS_CACHE).expanduser() / "hf_alphavil"
        self._path /= f"{safe_name}-{fingerprint}.arrow"
        self.file = str(self._path) if datasets.is_caching_enabled() and self._prepare() else None
        self.is_filled = self.file is not None and self._path.is_file()

    def _prepare(self) -> bool:
        """Removes a damaged file. Returns whether the cache can be used."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if os.path.lexists(self._path) and not self._is_intact():
                logger.warning("%s does not hold the rows that it was written with: it is made again", self._path)
                self._record.unlink(missing_ok=True)
                self._path.unlink()
        except OSError:
            return False
        return os.access(self._path.parent, os.W_OK)

    def _is_intact(self) -> bool:
        try:
            return json.loads(self._record.read_text(encoding="utf-8")) == self._content()
        except (OSError, ValueError):
            return False

    @property
    def _record(self) -> Path:
        return self._path.with_name(f"{self._path.name}.json")

    def _content(self) -> dict[str, Any]:
        return {**self._key, "crc32": file_checksum(self._path)}

    def record(self) -> None:
        """Writes the record of the file, which holds the rows now."""
        if self.file is not None and not self._record.is_file():
            atomic_write(self._record, json.dumps(self._content()))
