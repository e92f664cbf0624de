"""What a fast tokenizer remembers from its last call: truncation and padding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@contextmanager
def unchanged(tokenizer: PreTrainedTokenizerBase) -> Iterator[None]:
    """
    Restores, after a `with` block, the truncation and padding of a fast tokenizer.

    A fast tokenizer keeps those of its last call and writes them into `tokenizer.json`, which would then depend on
    whether rows were tokenised or found in the cache.
    """
    if not tokenizer.is_fast:
        yield
        return
    backend: Any = tokenizer.backend_tokenizer  # type: ignore[attr-defined]
    truncation, padding = backend.truncation, backend.padding
    try:
        yield
    finally:
        backend.no_truncation() if truncation is None else backend.enable_truncation(**truncation)
        backend.no_padding() if padding is None else backend.enable_padding(**padding)
