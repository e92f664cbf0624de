"""One shared encoder with the native Hugging Face head of every task."""

from .configuration import MultitaskConfig
from .model import MultitaskModel

__all__ = ["MultitaskConfig", "MultitaskModel"]
