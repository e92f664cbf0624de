"""The reference through which a native task model accesses the shared encoder."""

from __future__ import annotations

from typing import Any

from torch import nn


class EncoderReference:
    """
    Replaces the base model of a native task model without owning the encoder.

    A reference is not an `nn.Module`, so the encoder is registered only once, in [`MultitaskModel`], no matter how
    many native models use it. Calls go to the encoder, so its hooks run. Attributes are read from and written to the
    encoder too, because some native models set the embeddings by assigning an attribute of their base model.

    Args:
        encoder (`nn.Module`): The shared encoder.
    """

    # No __slots__: torch.compile reads the __dict__ of every object that a module holds, to guard its attributes.
    _encoder: nn.Module

    def __init__(self, encoder: nn.Module) -> None:
        self.rebind(encoder)

    def rebind(self, encoder: nn.Module) -> None:
        """Points this reference to another encoder module, for example a compiled or wrapped one."""
        object.__setattr__(self, "_encoder", encoder)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._encoder(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        # Called only for names that the reference itself lacks. Without this check, an unfinished copy would recurse.
        if name == "_encoder":
            raise AttributeError(name)
        return getattr(self._encoder, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._encoder, name, value)

    def __deepcopy__(self, memo: dict[int, Any]) -> EncoderReference:
        # When the whole model is copied, the encoder is copied first (it is registered first), so it is in the memo. A
        # copy of a single native model shares the encoder: otherwise it would silently train a second one.
        return EncoderReference(memo.get(id(self._encoder), self._encoder))

    def __reduce__(self) -> tuple[type[EncoderReference], tuple[nn.Module]]:
        return EncoderReference, (self._encoder,)

    def __repr__(self) -> str:
        return f"EncoderReference({type(self._encoder).__name__})"


def rebind_references(module: nn.Module, encoder: nn.Module) -> None:
    """Points every [`EncoderReference`] inside `module` to `encoder`."""
    for submodule in module.modules():
        for value in vars(submodule).values():
            if isinstance(value, EncoderReference):
                value.rebind(encoder)
