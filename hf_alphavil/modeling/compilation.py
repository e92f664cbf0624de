"""`torch_compile` for a model whose forward pass takes the task's name."""

from __future__ import annotations

from accelerate import Accelerator
from accelerate.utils import DynamoBackend, TorchDynamoPlugin
from torch import nn
from transformers import TrainingArguments

from . import unwrap_peft


def compile_encoder(model: nn.Module, args: TrainingArguments, accelerator: Accelerator) -> None:
    """
    Compiles the encoder in place where Trainer would have accelerate compile the whole model.

    A whole model is compiled once for every task, and torch silently gives up at eight; the encoder knows no tasks. In
    place, parameters keep their names. Heads stay as they are. Does nothing for a model without an `encoder`, which
    accelerate compiles whole, and nothing where no compilation was asked for.

    Args:
        model (`torch.nn.Module`): The bare model.
        args (`transformers.TrainingArguments`): For `torch_compile_backend` and `torch_compile_mode`.
        accelerator (`accelerate.Accelerator`): Which is kept from compiling the model too.
    """
    # As Trainer makes it: without a backend in the arguments it is what `accelerate launch` was told.
    plugin = TorchDynamoPlugin(backend=args.torch_compile_backend, mode=args.torch_compile_mode)
    encoder = getattr(unwrap_peft(model), "encoder", None)
    if plugin.backend == DynamoBackend.NO or not isinstance(encoder, nn.Module):
        return
    if encoder._compiled_call_impl is None:
        encoder.compile(**plugin.to_kwargs())
    accelerator.state.dynamo_plugin = TorchDynamoPlugin(backend=DynamoBackend.NO.value)
