"""The delta bank of a run: which parameters α scales, and in which groups."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer
from transformers.optimization import Adafactor

from ..distributed.fsdp import check_all_sharded
from ..methods import DeltaBank, Method
from ..methods.layer_groups import layer_groups
from ..modeling import unwrap_peft
from ..setup.run_context import RunContext


def make_delta_bank(context: RunContext, method: Method) -> DeltaBank:
    """
    Creates the bank for θ0 and the deltas of a run.

    Args:
        context (`RunContext`): The run's model and settings.
        method (`Method`): The method. If it does not fit α, all parameters share one coefficient per phase.

    Raises:
        ValueError: If a setting of α needs a model with an attribute `encoder` and the model has none.
    """
    args = context.args
    unscaled = unscaled_parameters(context) if method.fits_alpha else ()
    groups = alpha_groups(context) if method.fits_alpha else None
    return DeltaBank(context.model, unscaled, groups, device=args.delta_device, dtype=args.delta_dtype)


def make_sharded_bank(context: RunContext, method: Method, optimizer: Optimizer) -> DeltaBank:
    """
    Creates the bank of a run whose parameters FSDP2 has sharded.

    Args:
        context (`RunContext`): The run's model and settings.
        method (`Method`): The method.
        optimizer (`torch.optim.Optimizer`): The optimizer of the shards.

    Raises:
        ValueError: If a parameter is not sharded, or the optimizer keeps state that cannot be sharded.
    """
    bank = make_delta_bank(context, method)
    check_all_sharded(zip(bank.names, bank.parameters, strict=True), context.accelerator.num_processes)
    if isinstance(optimizer, Adafactor):
        raise ValueError(
            "Adafactor keeps sums over rows and columns, which cannot be sharded like their parameter: under "
            "FSDP2 choose another `optim` (for example `optim='adamw_torch'`)"
        )
    return bank


def unscaled_parameters(context: RunContext) -> set[str]:
    """`set[str]`: Parameters that are merged with coefficient 1: the heads with `alpha_applies_to="encoder"`."""
    if context.args.alpha_applies_to == "all":
        return set()
    # By identity: wrappers and adapters change names.
    shared = {id(parameter) for parameter in _encoder(context, "alpha_applies_to", "all").parameters()}
    return {name for name, parameter in context.model.named_parameters() if id(parameter) not in shared}


def alpha_groups(context: RunContext) -> dict[str, str] | None:
    """`dict[str, str]`, *optional*: The α group of every parameter; `None` if one α scales all parameters."""
    if context.args.alpha_granularity == "task":
        return None
    return layer_groups(context.model, _encoder(context, "alpha_granularity", "task"))


def _encoder(context: RunContext, setting: str, otherwise: str) -> nn.Module:
    encoder = getattr(unwrap_peft(context.accelerator.unwrap_model(context.model)), "encoder", None)
    if not isinstance(encoder, nn.Module):
        raise ValueError(
            f"{setting}={getattr(context.args, setting)!r} needs a model whose shared part is its attribute "
            f"`encoder`, as in MultitaskModel: pass such a model, or {setting}={otherwise!r}"
        )
    return encoder
