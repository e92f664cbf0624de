"""A run on rows of token ids, which does not need the library `datasets`."""

import random

import torch
from torch.utils.data import Dataset
from transformers import BertConfig

from hf_alphavil import MultitaskConfig, MultitaskModel, MultitaskTrainer, Task
from hf_alphavil.checkpointing.folder import checkpoints
from hf_alphavil.reporting.plots import plot_task_weights
from support.plain_toys import VOCABULARY, tokenizer
from support.toy_run import toy_args

TARGET = "pair"


class Rows(Dataset):
    """A map-style dataset of torch."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]


def ready_tasks():
    """Tasks without rows, whose metrics are packaged."""
    kind = "sequence_classification"
    tasks = [
        Task(TARGET, kind, ("text",), ("a", "b"), metrics=("accuracy", "f1", "matthews_correlation", "exact_match")),
        Task("tags", kind, ("text",), ("x", "y", "z"), problem_type="multi_label_classification"),
        Task("score", "regression", ("text",), metrics=("pearson", "spearmanr")),
        Task("names", "token_classification", ("text",), ("O", "B-X", "I-X"), metrics=("span_f1", "accuracy")),
    ]
    return {task.name: task for task in tasks}


def ready_rows(count, seed):
    """Rows of every task: lists, and one dataset of torch."""
    draw = random.Random(seed)

    def row(name):
        ids = [draw.randrange(4, VOCABULARY) for _ in range(draw.randint(3, 8))]
        labels = {
            TARGET: sum(ids) % 2,
            "tags": [float(ids[0] % prime == 0) for prime in (2, 3, 5)],
            "score": ids[0] / VOCABULARY,
            "names": [number % 3 for number in ids],
        }
        made = {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels[name]}
        return made | ({"question_id": ids[0] % 4} if name == TARGET else {})

    rows = {name: [row(name) for _ in range(count)] for name in ready_tasks()}
    return rows | {"score": Rows(rows["score"])}


def ready_trainer(folder, **settings):
    config = BertConfig(
        vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=16, initializer_range=0.2,
    )  # fmt: skip
    defaults = {"target_task": TARGET, "alpha_data": "train_holdout", "num_train_epochs": 2, "alpha_steps": 2}
    torch.manual_seed(0)
    tasks = ready_tasks()
    return MultitaskTrainer(
        model=MultitaskModel(MultitaskConfig(encoder=config, tasks=tasks)),
        args=toy_args(folder, **defaults | settings),
        tasks=tasks,
        processing_class=tokenizer(),
        train_dataset=ready_rows(32, seed=1),
        eval_dataset=ready_rows(12, seed=2),
    )


def run_ready_rows(folder, **settings):
    """Trains with checkpoints, resumes the first of them, evaluates, predicts and draws the plot."""
    whole = ready_trainer(f"{folder}/whole", save_strategy="epoch", **settings)
    whole.train()
    resumed = ready_trainer(f"{folder}/resumed", save_strategy="epoch", **settings)
    resumed.train(resume_from_checkpoint=str(checkpoints(f"{folder}/whole")[-1]))
    plot_task_weights(resumed.history, TARGET, f"{folder}/weights.png")
    resumed.create_model_card()
    return {
        "history": whole.history,
        "resumed": resumed.history,
        "log_history": list(whole.state.log_history),
        "counted": None,
        "scores": {name: whole.evaluate(name) for name in ready_tasks()},
        "predictions": whole.predict(ready_rows(5, seed=3)[TARGET]).predictions,
        "state": {name: tensor.clone() for name, tensor in whole.model.state_dict().items()},
    }
