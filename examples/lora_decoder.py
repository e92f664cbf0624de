"""
LoRA on a decoder whose frozen weights are in bfloat16, for the tickets of `examples/own_csv`.

    python examples/lora_decoder.py [MODEL] [OUTPUT]

MODEL is an id or a folder of a decoder. By default it is a small one from the Hub.
"""

import sys
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoTokenizer

from hf_alphavil import MultitaskModel, MultitaskTrainer, MultitaskTrainingArguments, load_tasks
from hf_alphavil.modeling import head_modules, merge_adapters, upcast_trainable

name, output = [*sys.argv[1:], *["HuggingFaceTB/SmolLM2-135M", "out/lora_decoder"][len(sys.argv) - 1 :]]

tasks = load_tasks(Path(__file__).parent / "own_csv" / "tasks.yaml")
tokenizer = AutoTokenizer.from_pretrained(name)
model = MultitaskModel.from_encoder(name, tasks=tasks, dtype=torch.bfloat16)
if tokenizer.pad_token is None:  # as of most decoders
    tokenizer.pad_token = tokenizer.eos_token
    model.pad_token_id = tokenizer.pad_token_id
adapters = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], modules_to_save=head_modules(model))
model = upcast_trainable(get_peft_model(model, adapters))  # adapters and heads train in float32

trainer = MultitaskTrainer(
    model=model,
    args=MultitaskTrainingArguments(
        output_dir=output,
        target_task="tickets",
        num_train_epochs=3,
        learning_rate=2e-4,
        per_device_train_batch_size=8,
        save_strategy="no",
    ),
    tasks=tasks,
    processing_class=tokenizer,
)
trainer.train()
print(trainer.evaluate())
merge_adapters(trainer.model).export_task("tickets", f"{output}/export")  # ordinary weights, without adapters
tokenizer.save_pretrained(f"{output}/export")
