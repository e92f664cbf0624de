"""
Masked language modelling as an auxiliary task: texts without labels help the tickets of `examples/own_csv`.

    python examples/masked_lm.py [ENCODER] [OUTPUT]

ENCODER is an id or a folder of an encoder. The texts without labels are those of the reviews; take texts of your own
domain.
"""

import sys
from pathlib import Path

from datasets import load_dataset
from transformers import AutoTokenizer

from hf_alphavil import MultitaskModel, MultitaskTrainer, MultitaskTrainingArguments, Task, load_tasks

name, output = [*sys.argv[1:], *["distilbert/distilroberta-base", "out/masked_lm"][len(sys.argv) - 1 :]]
folder = Path(__file__).parent / "own_csv"

texts = load_dataset("csv", data_files=str(folder / "reviews.csv"), split="train").select_columns("text")
tasks = {
    "tickets": load_tasks(folder / "tasks.yaml")["tickets"],
    "prose": Task("prose", "masked_lm", "text", train=texts),
}
trainer = MultitaskTrainer(
    model=MultitaskModel.from_encoder(name, tasks=tasks),
    args=MultitaskTrainingArguments(
        output_dir=output,
        target_task="tickets",
        num_train_epochs=3,
        learning_rate=5e-5,
        per_device_train_batch_size=8,
        save_strategy="no",
    ),
    tasks=tasks,
    processing_class=AutoTokenizer.from_pretrained(name),
)
trainer.train()
print(trainer.evaluate())
print({task: round(saved["mean"], 4) for task, saved in trainer.history[0]["contribution"].items()})
trainer.export_task("tickets", f"{output}/export")
