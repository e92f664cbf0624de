"""How long inputs may be, and how many tokens there are, for an encoder."""

from __future__ import annotations

from torch import nn

#: Ends of the names of modules that hold an embedding for each absolute position.
_POSITIONS = ("position_embeddings", "embed_positions", "wpe")


def max_positions(encoder: nn.Module) -> int | None:
    """
    The longest input, in tokens, for which an encoder has positions.

    Args:
        encoder (`torch.nn.Module`): The encoder.

    Returns:
        `int`, *optional*: The number of tokens, or `None` if positions are relative or computed.
    """
    limits = []
    known = getattr(getattr(encoder, "config", None), "max_position_embeddings", None)
    for name, module in encoder.named_modules():
        if not isinstance(module, nn.Embedding) or not name.endswith(_POSITIONS):
            continue
        if module.padding_idx is not None:  # RoBERTa and others count positions from the one after padding
            limits.append(module.num_embeddings - module.padding_idx - 1)
        else:  # BART and others have more rows than positions
            limits.append(min(module.num_embeddings, known or module.num_embeddings))
    return min(limits, default=None)


def num_token_types(encoder: nn.Module) -> int | None:
    """
    The number of values that an encoder's `token_type_ids` may have.

    Args:
        encoder (`torch.nn.Module`): The encoder.

    Returns:
        `int`, *optional*: The number, or `None` if the encoder has no embeddings for them.
    """
    for name, module in encoder.named_modules():
        if isinstance(module, nn.Embedding) and name.endswith("token_type_embeddings"):
            return module.num_embeddings
    return None


def num_token_embeddings(encoder: nn.Module) -> int | None:
    """
    The number of tokens for which an encoder has embeddings.

    Args:
        encoder (`torch.nn.Module`): The encoder.

    Returns:
        `int`, *optional*: The number, or `None` if the encoder has no table of tokens, as CANINE.
    """
    try:
        embeddings = encoder.get_input_embeddings()  # type: ignore[operator]
    except (NotImplementedError, AttributeError):
        return None
    return embeddings.num_embeddings if isinstance(embeddings, nn.Embedding) else None
