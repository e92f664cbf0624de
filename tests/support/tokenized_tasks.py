"""Tokenises some tasks: in a test, or by `python -m support.tokenized_tasks DATA_DIR` (prints JSON)."""

import json
import sys
from unittest import mock

import datasets
from datasets import Dataset

from hf_alphavil.tasks import Task, load_tasks, tokenization
from support.official_miniatures import make_tokenizer


def tokenize_all(data):
    """Number of calls of the tokenizer, fingerprint and rows of some tasks."""
    tasks = list(load_tasks(["rte", "copa"], data_dir=data).values())
    rows = Dataset.from_dict({"text": ["the cat", "a dog"], "label": [0, 1]})
    tasks.append(Task("mood", "sequence_classification", ("text",), ("bad", "good"), train=rows))
    tasks.append(tasks[0].select(max_train_samples=2))
    counts, content = [], []
    with mock.patch.object(tokenization, "_tokenize_batch", wraps=tokenization._tokenize_batch) as call:
        for task in tasks:
            rows = task.tokenize("train", make_tokenizer(), 16)
            counts.append(call.call_count)
            content.append([rows._fingerprint, rows["labels"][:], rows["input_ids"][:]])
            call.reset_mock()
    return counts, content


def tokenize_with_cache(data, cache):
    datasets.config.HF_DATASETS_CACHE = cache
    return tokenize_all(data)


if __name__ == "__main__":
    print(json.dumps(tokenize_all(sys.argv[1])))
