"""Cache keys: equal in every process for equal content, so that the next run finds what this one cached."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tokenizers
import transformers

from ..files.digest import Digest
from .tokenizer_state import unchanged

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def hash_of(*parts: Any) -> str:
    """A hash of `parts` (bytes, or anything that is JSON-serialisable) of 16 hexadecimal digits."""
    written = (part if isinstance(part, bytes) else json.dumps(part, sort_keys=True) for part in parts)
    return Digest(*written).hexdigest()[:16]


def tokenizer_identity(tokenizer: PreTrainedTokenizerBase) -> str:
    """
    A hash of all that decides how a tokenizer splits text: equal in the next process, different after `add_tokens`.

    The padding and truncation that a fast tokenizer remembers from its last call do not count: with them, the first
    call would change the identity and the cache would never hit.
    """
    settings = [
        transformers.__version__,
        tokenizers.__version__,
        f"{type(tokenizer).__module__}.{type(tokenizer).__qualname__}",
        list(tokenizer.model_input_names),
        tokenizer.truncation_side,
        int(tokenizer.model_max_length),
        {name: str(token) for name, token in tokenizer.special_tokens_map.items()},
    ]
    if tokenizer.is_fast:
        backend: Any = tokenizer.backend_tokenizer  # type: ignore[attr-defined]
        with unchanged(tokenizer):
            backend.no_truncation()
            backend.no_padding()
            return hash_of(*settings, backend.to_str().encode())
    try:
        with tempfile.TemporaryDirectory() as folder:
            tokenizer.save_pretrained(folder)
            files = [file for file in sorted(Path(folder).rglob("*")) if file.is_file()]
            return hash_of(*settings, *[file.read_bytes() for file in files])
    except (NotImplementedError, OSError, ValueError):  # a user's tokenizer that cannot be saved
        from datasets.fingerprint import Hasher

        return hash_of(*settings, Hasher.hash(tokenizer))
