"""The handle through which a native task model reaches the shared encoder."""

from __future__ import annotations

from typing import Any

from torch import nn


class EncoderReference:
    """
    Stands where a native task model expects its base model, without owning it.

    A reference is no `nn.Module`, so the encoder keeps one name and one registration (in [`MultitaskModel`]) however
    many natives use it. Calls and attribute access go to the encoder: calls, so that hooks on the encoder run; writes
    too, because some natives set the embeddings by assigning an attribute of their base model.

    Args:
        encoder (`nn.Module`): The shared encoder.
    """

    # No __slots__: torch.compile guards the attributes of what a module holds through its __dict__.
    _encoder: nn.Module

    def __init__(self, encoder: nn.Module) -> None:
        self.rebind(encoder)

    def rebind(self, encoder: nn.Module) -> None:
        """Point at another encoder module, for instance a compiled or wrapped one."""
        object.__setattr__(self, "_encoder", encoder)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._encoder(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        # Only reached for names that are not on the reference itself; without this guard a half-built copy recurses.
        if name == "_encoder":
            raise AttributeError(name)
        return getattr(self._encoder, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._encoder, name, value)

    def __deepcopy__(self, memo: dict[int, Any]) -> EncoderReference:
        # A copy of the whole model has copied the encoder first (it is registered first), so the memo knows it. A copy
        # of one native alone shares the encoder: cloning it would train a second, silent one.
        return EncoderReference(memo.get(id(self._encoder), self._encoder))

    def __reduce__(self) -> tuple[type[EncoderReference], tuple[nn.Module]]:
        return EncoderReference, (self._encoder,)

    def __repr__(self) -> str:
        return f"EncoderReference({type(self._encoder).__name__})"


def rebind_references(module: nn.Module, encoder: nn.Module) -> None:
    """Point every [`EncoderReference`] held anywhere below `module` at `encoder`."""
    for submodule in module.modules():
        for value in vars(submodule).values():
            if isinstance(value, EncoderReference):
                value.rebind(encoder)
