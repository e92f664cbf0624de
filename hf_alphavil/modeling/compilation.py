"""`torch_compile` for a model whose forward pass takes the name of the task."""

from __future__ import annotations

from accelerate import Accelerator
from accelerate.utils import DynamoBackend, TorchDynamoPlugin
from torch import nn
from transformers import TrainingArguments

from . import unwrap_peft


def compile_encoder(model: nn.Module, args: TrainingArguments, accelerator: Accelerator) -> None:
    """
    Compiles the encoder in place, and keeps accelerate from compiling the whole model.

    torch would compile a whole model once per task, and silently stop compiling after eight tasks. The encoder does
    not depend on the task. Compiling in place keeps the names of the parameters. Heads are not compiled. If the model
    has no `encoder`, accelerate compiles it whole as usual. Without `torch_compile`, this does nothing.

    Args:
        model (`torch.nn.Module`): The bare model.
        args (`TrainingArguments`): Trainer's arguments, for `torch_compile_backend` and `torch_compile_mode`.
        accelerator (`accelerate.Accelerator`): Trainer's accelerator. Its compilation is turned off.
    """
    # Built as Trainer builds it: without a backend in the arguments, that of `accelerate launch` applies.
    plugin = TorchDynamoPlugin(backend=args.torch_compile_backend, mode=args.torch_compile_mode)
    encoder = getattr(unwrap_peft(model), "encoder", None)
    if plugin.backend == DynamoBackend.NO or not isinstance(encoder, nn.Module):
        return
    if encoder._compiled_call_impl is None:
        encoder.compile(**plugin.to_kwargs())
    accelerator.state.dynamo_plugin = TorchDynamoPlugin(backend=DynamoBackend.NO.value)
