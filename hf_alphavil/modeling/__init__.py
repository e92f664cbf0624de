"""One shared encoder with a native Hugging Face head for every task."""

from .adapters import head_modules, merge_adapters, unwrap_peft
from .configuration import MultitaskConfig
from .model import MultitaskModel

__all__ = ["MultitaskConfig", "MultitaskModel", "head_modules", "merge_adapters", "unwrap_peft"]
