"""The settings of LoRA adapters and of the frozen encoder below them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, ClassVar

import torch
from transformers import BitsAndBytesConfig


@dataclass
class LoraArguments:
    """Settings for adapters instead of full fine-tuning. Names and defaults are those of trl."""

    help_title: ClassVar[str] = "LoRA"  # in `--help`
    #: The fields that the user of a script has given, even with the default value.
    given: ClassVar[Collection[str]] = ()

    use_peft: bool = field(
        default=False,
        metadata={"help": "Train only LoRA adapters on the encoder, and the heads, instead of all weights."},
    )
    lora_r: int = field(default=16, metadata={"help": "Rank of the adapters."})
    lora_alpha: int = field(
        default=32, metadata={"help": "LoRA's α, not αVIL's: adapters are scaled by lora_alpha / lora_r."}
    )
    lora_dropout: float = field(default=0.05, metadata={"help": "Dropout on the input of the adapters."})
    lora_target_modules: list[str] | None = field(
        default=None,
        metadata={
            "help": "Modules of the encoder that get an adapter, by the last part of their names, such as `query "
            "value`, or `all-linear`. Default: peft's choice for the architecture."
        },
    )
    dtype: str | None = field(
        default=None,
        metadata={
            "help": "Data type of the frozen encoder below adapters; the adapters and heads stay float32. Default: "
            "float32; for a folder with adapters, that of the run that saved it.",
            "choices": ["float32", "bfloat16", "float16"],
        },
    )
    load_in_8bit: bool = field(
        default=False, metadata={"help": "Quantize the frozen encoder to 8 bits (needs `bitsandbytes`)."}
    )
    load_in_4bit: bool = field(
        default=False, metadata={"help": "Quantize the frozen encoder to 4 bits (needs `bitsandbytes`)."}
    )

    def __post_init__(self) -> None:
        for name, valid, wanted in (
            ("lora_r", self.lora_r >= 1, "1 or more"),
            ("lora_alpha", self.lora_alpha >= 1, "1 or more: adapters are scaled by it"),
            ("lora_dropout", 0 <= self.lora_dropout < 1, "a share from 0 to less than 1"),
        ):
            if not valid:
                raise ValueError(f"{name}={getattr(self, name)!r}: pass {wanted}")
        if self.load_in_8bit and self.load_in_4bit:
            raise ValueError("load_in_8bit=True and load_in_4bit=True contradict each other: pass one of them")
        if not self.use_peft and (loading := [f"{name}={value}" for name, value in self._loading().items()]):
            raise ValueError(
                f"{', '.join(loading)} without use_peft=True would train weights in which small deltas are rounded to "
                "zero: add --use_peft, which trains float32 adapters on the frozen weights; or leave it out, and pass "
                "--bf16 true for mixed precision"
            )

    def base_arguments(self) -> dict[str, Any]:
        """
        `dict`: The arguments of `from_encoder` that load the frozen encoder.

        Raises:
            ImportError: If `bitsandbytes` is needed and not installed.
        """
        arguments: dict[str, Any] = {} if self.dtype is None else {"dtype": getattr(torch, self.dtype)}
        if self.load_in_8bit or self.load_in_4bit:
            if find_spec("bitsandbytes") is None:
                raise ImportError("a quantized encoder needs the bitsandbytes library: `pip install bitsandbytes`")
            # The 8-bit kernels compute in float16.
            arguments.setdefault("dtype", torch.float16 if self.load_in_8bit else torch.bfloat16)
            arguments["quantization_config"] = BitsAndBytesConfig(
                load_in_8bit=self.load_in_8bit,
                load_in_4bit=self.load_in_4bit,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_compute_dtype=arguments["dtype"],
            )
        return arguments

    def _loading(self) -> dict[str, Any]:
        half = {"dtype": self.dtype} if self.dtype not in (None, "float32") else {}
        return half | {name: True for name in ("load_in_8bit", "load_in_4bit") if getattr(self, name)}
