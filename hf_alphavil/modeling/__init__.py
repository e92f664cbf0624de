"""One shared encoder with a native Hugging Face head for every task."""

from .adapters import merge_adapters, unwrap_peft
from .configuration import MultitaskConfig
from .half_precision import upcast_trainable
from .head_modules import head_modules
from .model import MultitaskModel

__all__ = ["MultitaskConfig", "MultitaskModel", "head_modules", "merge_adapters", "unwrap_peft", "upcast_trainable"]
