"""Checks a task: reads its definition and data, and reports what the model would see and every fault."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..data.holdout import MAX_ADAPTED_SHARE, MIN_HOLDOUT_ROWS
from ..kinds import kind_of
from .definition import TaskDefinition
from .errors import DataError
from .examples import answer, shorten, shown_texts
from .label_warnings import MAX_LABELS, label_counts, label_warnings, rare_label_warnings
from .loading import load_splits, make_task
from .majority import majority_scores
from .registry import BENCHMARK_NAMES
from .task import SPLITS, Task

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

#: Number of problems per file that are printed; the others are only counted.
MAX_PROBLEMS = 20
NUM_EXAMPLES = 2


class TaskCheck:
    """
    The check of a task: reads its data and writes a report.

    Args:
        definition (`TaskDefinition`):
            The task.
        data_dir (`str` or `Path`, *optional*):
            The folder of the official files. Without it, a benchmark's rows come from the Hub.
        tokenizer (`PreTrainedTokenizerBase`, *optional*):
            If given, the report shows inputs as the model gets them, and lengths in tokens. Otherwise, both are in
            words.
        max_length (`int`, *optional*):
            The maximum number of tokens per input. The report counts the inputs that may be truncated.

    Attributes:
        problems (`list[DataError]`): Faults that make the data unusable. Loading would stop at the first one.
        warnings (`list[str]`): Oddities that may be intended.
        report (`str`): Everything that was found, for a terminal.
    """

    def __init__(
        self,
        definition: TaskDefinition,
        data_dir: str | Path | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        max_length: int | None = None,
    ) -> None:
        self.definition, self.tokenizer, self.max_length = definition, tokenizer, max_length
        self.problems: list[DataError] = []
        self._seen: set[str] = set()
        self._contents: dict[str, list[tuple[str, str]]] = {}
        self.warnings: list[str] = []
        rows = self._load(data_dir)
        task = self._make(rows)
        lines = [f"{definition.key}: {_described(definition, task)}"]
        if task is not None:
            self._look_at_settings(task)
            for split in SPLITS:
                if split in rows and len(rows[split]):
                    lines += ["", *self._split(task, split)]
            self._compare()
        lines += ["", *self._verdict()]
        self.report = "\n".join(lines)

    def _load(self, data_dir: str | Path | None) -> dict[str, Dataset]:
        loaded: dict[str, Dataset] = {}
        # Split by split, so that an unreadable file does not hide the faults of the others.
        for split in SPLITS:
            try:
                loaded |= load_splits(self.definition, data_dir, (split,), report=self._add)
            except DataError as error:
                self._add(error)
        return loaded

    def _add(self, problem: DataError) -> None:
        # Every split may read the training rows first, for their labels.
        if str(problem) not in self._seen:
            self._seen.add(str(problem))
            self.problems.append(problem)

    def _make(self, rows: Mapping[str, Dataset]) -> Task | None:
        filled = {split: dataset for split, dataset in rows.items() if len(dataset)}
        if not filled:
            return None
        try:
            return make_task(self.definition, filled, head_task=(*self.definition.head_tasks, None)[0])
        except DataError as error:
            self._add(error)
            return None

    def _look_at_settings(self, task: Task) -> None:
        self.warnings += label_warnings(task) + rare_label_warnings(self.definition, task)
        if task.head_task is None and task.train is not None and kind_of(task).reads_labels:
            if task.validation is None:
                self.warnings.append("no validation split: a target task needs one, or the key `validation_fraction`")
            rows = len(task.train)
            if rows * MAX_ADAPTED_SHARE < MIN_HOLDOUT_ROWS:
                self.warnings.append(
                    f"train: {rows} rows are too few to hold out {MIN_HOLDOUT_ROWS} of them for α if this is the "
                    "target: pass --alpha_data train or validation"
                )

    def _split(self, task: Task, split: str) -> list[str]:
        rows, kind = task.split(split), kind_of(task)
        lines = [f"{split}: {len(rows)} rows"]
        counts = label_counts(task, split)
        if counts is not None:
            shown = [f"{label}: {count}" for label, count in counts.most_common(MAX_LABELS)]
            more = f", and {len(counts) - MAX_LABELS} more" if len(counts) > MAX_LABELS else ""
            lines.append(f"  labels   {', '.join(shown)}{more}")
            if kind.has_one_class and split == "validation":
                scores = majority_scores(rows[task.label_column][:], kind, task.metrics, task.labels)
                listed = [f"{metric} {score:.4f}" for metric, score in scores.items()]
                lines += [f"  always answering the most frequent label scores {', '.join(listed)}"] if listed else []
            if split != "test" and (absent := [label for label in task.labels or () if label not in counts]):
                self.warnings.append(f"{split}: no row has the label {' or '.join(absent[:MAX_LABELS])}")
        elif kind.reads_labels and not kind.has_classes and split != "test":
            lines.append(kind.labels_summary(rows[task.label_column][:]))
        try:
            lines += self._inputs(task, split, rows)
        except DataError as error:
            self._add(error)
        if warning := kind.warning_about(task, rows):
            self.warnings.append(f"{split}: {warning}")
        contents = self._contents[split] = _contents(task, split)
        if duplicates := len(rows) - len(set(contents)):
            self.warnings.append(f"{split}: rows that repeat the texts and label of an earlier row: {duplicates}")
        return lines

    def _inputs(self, task: Task, split: str, rows: Dataset) -> list[str]:
        if self.tokenizer is None:
            texts = [kind_of(task).texts(task, row) for row in rows]
            lengths = [sum(len(text.split()) for text in pair) for row in texts for pair in row]
            shown = [shown_texts(task, rows[number]) for number in range(min(NUM_EXAMPLES, len(rows)))]
            unit = "words"
        else:
            inputs = task.tokenize(split, self.tokenizer, self.max_length)["input_ids"]
            encoded = [row if row and isinstance(row[0], list) else [row] for row in inputs]
            lengths = [len(text) for row in encoded for text in row]
            shown = [[shorten(str(self.tokenizer.decode(text))) for text in row] for row in encoded[:NUM_EXAMPLES]]
            unit = "tokens"
        low, middle, high, most = (int(np.quantile(lengths, share)) for share in (0, 0.5, 0.95, 1))
        line = f"  {unit:<8} {low} to {most}, median {middle}, 95 % have {high} or fewer"
        if self.tokenizer is not None:
            limit = min(self.max_length or self.tokenizer.model_max_length, self.tokenizer.model_max_length)
            full = sum(length >= limit for length in lengths)
            line += f"; {full} reach the limit of {limit} and may be truncated" if full else ""
        if not low:
            self.warnings.append(f"{split}: empty texts: {lengths.count(0)}")
        lines = [line]
        for number, choices in enumerate(shown):
            lines.append(f"  row {number}    {answer(task, split, rows[number])}".rstrip())
            lines += [f"           {text}" for text in choices]
        return lines

    def _compare(self) -> None:
        known = {text for text, _ in self._contents.get("train", ())}
        if both := sum(text in known for text, _ in self._contents.get("validation", ())):
            self.warnings.append(f"validation: rows that repeat the texts of a training row: {both}")

    def _verdict(self) -> list[str]:
        lines = [f"warning: {warning}" for warning in self.warnings]
        ordered = sorted(self.problems, key=lambda error: (str(error.file), error.line or 0))
        for _, group in groupby(ordered, key=lambda error: str(error.file)):
            errors = list(group)
            lines += [f"problem: {error}" for error in errors[:MAX_PROBLEMS]]
            if len(errors) > MAX_PROBLEMS:
                lines.append(f"problem: {errors[0].file}: {len(errors) - MAX_PROBLEMS} more")
        number = len(self.problems)
        lines.append(f"{number} problem{'' if number == 1 else 's'}" if number else "no problems")
        return lines


def _described(definition: TaskDefinition, task: Task | None) -> str:
    kind = kind_of(definition.spec)
    parts = [kind.words]
    if definition.benchmark is not None:
        parts.append(BENCHMARK_NAMES[definition.benchmark])
    if task is not None:
        if task.labels is not None:
            parts.append(kind.labels_in_words(task.labels))
        parts.append(f"scored by {', '.join(task.metrics)}")
        if task.head_task is not None:
            parts.append(f"with the head of {task.head_task}")
    return ", ".join(parts)


def _contents(task: Task, split: str) -> list[tuple[str, str]]:
    """Each row's texts, and its label."""
    kind, rows = kind_of(task), task.split(split)
    return [(repr(kind.texts(task, row)), answer(task, split, row)) for row in rows]
