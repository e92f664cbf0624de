"""The model and the tokenizer of a run of the script."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import set_seed

from ..modeling import unwrap_peft
from ..modeling.loading import load_tokenizer
from ..modeling.lora import LoraArguments, load_model
from ..script_arguments import DriverArguments, DriverTrainingArguments
from ..tasks import Task


def load_run_model(
    driver: DriverArguments, args: DriverTrainingArguments, lora: LoraArguments, tasks: Mapping[str, Task]
) -> tuple[Any, Any]:
    """The model with heads for the tasks, new ones drawn by the run's seed, and the tokenizer, which can pad."""
    path, revision = driver.model_name_or_path, driver.model_revision
    tokenizer = load_tokenizer(path, revision)
    set_seed(args.seed)
    model = load_model(path, tasks, lora, revision)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
        unwrap_peft(model).pad_token_id = tokenizer.pad_token_id
    return model, tokenizer
