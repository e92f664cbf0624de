"""
Fine-tunes a classifier of reviews with the help of `stars.csv`, whose `label` is a number of stars.

    python after.py ENCODER DATA OUTPUT

ENCODER is a model id or a folder. The folder DATA holds `reviews.csv` and `reviews_dev.csv`, with the columns `text`
and `label` (0 or 1).
"""

import sys

from datasets import load_dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments

from hf_alphavil import add_auxiliaries

encoder, data, output = sys.argv[1:4]


def accuracy(prediction):
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}


tokenizer = AutoTokenizer.from_pretrained(encoder)
reviews = load_dataset("csv", data_files={"train": f"{data}/reviews.csv", "validation": f"{data}/reviews_dev.csv"})
reviews = reviews.map(lambda rows: tokenizer(rows["text"], truncation=True), batched=True)
args = TrainingArguments(
    output_dir=output,
    num_train_epochs=3,
    learning_rate=3e-5,
    eval_strategy="epoch",
    save_strategy="epoch",
    load_best_model_at_end=True,
    metric_for_best_model="accuracy",
    report_to="none",
)
trainer = Trainer(
    model=AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=2),
    args=args,
    train_dataset=reviews["train"],
    eval_dataset=reviews["validation"],
    processing_class=tokenizer,
    compute_metrics=accuracy,
)
trainer = add_auxiliaries(trainer, {"stars": load_dataset("csv", data_files=f"{data}/stars.csv")}, target="reviews")
trainer.train()
print(trainer.evaluate())
trainer.export_task("reviews", f"{output}/model")
