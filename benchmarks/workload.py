"""Packs what benchmarks train on into one folder: an encoder and token ids. Nothing else is needed to run them.

python benchmarks/workload.py --data_dir ../shared/data --model_name_or_path ENCODER --output out/workload

The folder holds the encoder in float16, its tokenizer and one JSON file per task. For a MiniLM encoder it takes less
than 64 MB, so it can be carried to a machine that has a GPU, but no network and neither `datasets` nor `evaluate`.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerBase

from hf_alphavil import MultitaskModel

#: The paper's tasks, the first of which is the target.
TASKS = ("rte", "mrpc", "wnli", "cb", "copa")
MAX_LENGTH = 128
#: Columns of a row that a model reads. Attention masks follow from the length of the token ids.
COLUMNS = ("input_ids", "token_type_ids", "label")

Rows = list[dict[str, Any]]


@dataclass
class Workload:
    """
    An encoder, its tokenizer, and rows of token ids.

    Args:
        folder (`Path`): Where they lie.
        heads (`dict[str, dict]`): Head description by task.
        rows (`dict[str, list[dict]]`): Training rows by task: `input_ids`, `attention_mask`, `labels` and, if the
            tokenizer makes them, `token_type_ids`.
        validation (`dict[str, list[dict]]`): Validation rows by task.
    """

    folder: Path
    heads: dict[str, dict[str, Any]]
    rows: dict[str, Rows]
    validation: dict[str, Rows]

    @classmethod
    def load(cls, folder: str | Path, tasks: Sequence[str] = TASKS) -> Workload:
        """Reads tasks from a folder that [`pack`] wrote."""
        files = {name: json.loads((Path(folder) / "tasks" / f"{name}.json").read_text()) for name in tasks}
        return cls(
            Path(folder),
            {name: files[name]["head"] for name in tasks},
            {name: list(_rows(files[name]["train"])) for name in tasks},
            {name: list(_rows(files[name]["validation"])) for name in tasks},
        )

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The encoder's tokenizer."""
        return AutoTokenizer.from_pretrained(self.folder / "encoder")

    def model(self, seed: int = 0) -> MultitaskModel:
        """A new model in float32 with the packed encoder and a head for every task."""
        torch.manual_seed(seed)
        return MultitaskModel.from_encoder(self.folder / "encoder", tasks=self.heads, dtype=torch.float32)

    def sample(self, count: int, seed: int = 0) -> dict[str, Rows]:
        """At most `count` training rows of every task, drawn at random."""
        return {
            name: rows if count >= len(rows) else random.Random(f"{seed} {name}").sample(rows, count)
            for name, rows in self.rows.items()
        }


def _rows(columns: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    for values in zip(*columns.values(), strict=True):
        row = dict(zip(columns, values, strict=True))
        row["labels"] = row.pop("label")
        row["attention_mask"] = _ones_like(row["input_ids"])
        yield row


def _ones_like(ids: list[Any]) -> list[Any]:
    return [_ones_like(choice) for choice in ids] if isinstance(ids[0], list) else [1] * len(ids)


def pack(data_dir: str, encoder: str, output: Path, tasks: Sequence[str] = TASKS) -> int:
    """
    Writes the folder of a workload.

    Args:
        data_dir (`str`): Folder of the official files.
        encoder (`str`): Id or folder of the encoder.
        output (`Path`): The folder to write.
        tasks (`Sequence[str]`, *optional*): The tasks.

    Returns:
        `int`: Size of the folder in bytes.
    """
    from hf_alphavil import load_tasks  # needs `datasets`, which a machine that only trains may lack

    tokenizer = AutoTokenizer.from_pretrained(encoder)
    tokenizer.save_pretrained(output / "encoder")
    AutoModel.from_pretrained(encoder, dtype=torch.float16).save_pretrained(output / "encoder")
    (output / "tasks").mkdir(exist_ok=True)
    for name, task in load_tasks(list(tasks), data_dir=data_dir).items():
        content: dict[str, Any] = {"head": dict(task.head)}
        for split in ("train", "validation"):
            tokens = task.tokenize(split, tokenizer, MAX_LENGTH)
            renamed = tokens.rename_column("labels", "label") if "labels" in tokens.column_names else tokens
            content[split] = {name: renamed[name][:] for name in COLUMNS if name in renamed.column_names}
        (output / "tasks" / f"{name}.json").write_text(json.dumps(content, separators=(",", ":")))
    return sum(path.stat().st_size for path in output.rglob("*") if path.is_file())


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data_dir", required=True, help="folder of the official GLUE and SuperGLUE files")
    parser.add_argument("--model_name_or_path", required=True, help="the encoder")
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    size = pack(arguments.data_dir, arguments.model_name_or_path, arguments.output, arguments.tasks)
    print(f"{arguments.output}: {size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
