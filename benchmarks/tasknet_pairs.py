"""Training rows per CPU second of this package and of tasknet 1.60, in turn, on the same encoder and tasks.

pip install tasknet==1.60.0
python benchmarks/tasknet_pairs.py --data_dir ../shared/data --model_name_or_path ENCODER

Both train RTE, MRPC, WNLI and CB, each with a classification head, in batches of the same size, for the same number of
steps, with their defaults; tasknet's embedding of the task is switched off. The first steps are not measured.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from functools import partial
from unittest import mock

import datasets
import transformers
from transformers import AutoTokenizer
from transformers.trainer_callback import PrinterCallback

from cpu_pairs import ratios
from hf_alphavil import MultitaskModel, MultitaskTrainer, MultitaskTrainingArguments, Task, load_tasks
from results_file import add_output, write_result
from throughput import WARM_UP, Clock
from workload import MAX_LENGTH

TASKS = ("rte", "mrpc", "wnli", "cb")


def alphavil_seconds(tasks: dict[str, Task], options: argparse.Namespace) -> float:
    """Seconds of joint training by this package."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = MultitaskTrainer(
            model=MultitaskModel.from_encoder(options.model_name_or_path, tasks=tasks),
            args=MultitaskTrainingArguments(
                output_dir=folder, target_task=TASKS[0], method="multitask", max_steps=WARM_UP + options.steps,
                per_device_train_batch_size=options.batch_size, save_strategy="no", report_to=[], disable_tqdm=True,
                max_length=MAX_LENGTH, use_cpu=options.device == "cpu",
            ),
            tasks=tasks,
            processing_class=AutoTokenizer.from_pretrained(options.model_name_or_path),
            callbacks=[clock],
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return clock.seconds


def tasknet_seconds(tasks: dict[str, Task], options: argparse.Namespace) -> float:
    """Seconds of training by tasknet."""
    with mock.patch("evaluate.load"):  # tasknet loads a metric from the Hub on import, which is not used here
        import tasknet

    def as_dict(task: Task) -> datasets.DatasetDict:
        rows = task.train
        for i, column in enumerate(task.text_columns, start=1):
            rows = rows if column == f"sentence{i}" else rows.rename_column(column, f"sentence{i}")
        rows = rows.select_columns(["sentence1", "sentence2", "label"]).rename_column("label", "labels")
        few = rows.select(range(2))
        return datasets.DatasetDict(train=rows, validation=few, test=few)

    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        wrapped = [tasknet.Classification(dataset=as_dict(task), name=name) for name, task in tasks.items()]
        settings = {
            "model_name": options.model_name_or_path, "output_dir": folder, "max_length": MAX_LENGTH,
            "per_device_train_batch_size": options.batch_size, "max_steps": WARM_UP + options.steps, "add_cls": False,
            "eval_strategy": "no", "save_strategy": "no", "report_to": [], "disable_tqdm": True,
            "use_cpu": options.device == "cpu", "num_train_epochs": 1,
        }  # fmt: skip
        trainer = tasknet.Trainer(tasknet.Model(wrapped, settings), wrapped, settings)
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(clock)
        trainer.train()
    return clock.seconds


def main() -> int:
    """Measures, prints and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--model_name_or_path", required=True)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=2)
    add_output(parser)
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    tasks = load_tasks(list(TASKS), data_dir=options.data_dir)
    alternatives = {
        "ours": partial(alphavil_seconds, tasks, options),
        "tasknet": partial(tasknet_seconds, tasks, options),
    }
    measured = ratios(alternatives, "ours", options.rounds)
    write_result(options, {"steps": options.steps, "batch_size": options.batch_size, "times_as_long": measured})
    return 0


if __name__ == "__main__":
    sys.exit(main())
