"""In a notebook, the table of the progress bar shows the target's losses, the phase, α and weights."""

import sys
from types import ModuleType, SimpleNamespace
from unittest import mock

import pytest

from hf_alphavil import MultitaskTrainer
from support.toy_run import accuracy, toy_args, toy_data, toy_model, toy_trainer


@pytest.fixture
def pages():
    """What a notebook would have displayed, in a process that then seems to be one."""
    shown = []
    display = ModuleType("IPython.display")
    display.HTML = str
    display.display = lambda page, display_id=None: shown.append(page) or SimpleNamespace(update=shown.append)
    package = ModuleType("IPython")
    package.display = display
    with mock.patch.dict(sys.modules, {"IPython": package, "IPython.display": display}):
        from transformers.utils.notebook import NotebookProgressCallback

        with mock.patch("transformers.trainer.DEFAULT_PROGRESS_CALLBACK", NotebookProgressCallback):
            yield shown


def table(trainer):
    from hf_alphavil.run.notebook_progress import PlanNotebookCallback

    (callback,) = (one for one in trainer.callback_handler.callbacks if isinstance(one, PlanNotebookCallback))
    tables = []
    keep = callback.on_train_end

    def on_train_end(*args, **kwargs):
        tables.append(callback.training_tracker.inner_table)
        return keep(*args, **kwargs)

    callback.on_train_end = on_train_end
    trainer.train()
    columns, *rows = tables[0]
    return [dict(zip(columns, row, strict=False)) for row in rows]


SETTINGS = {"disable_tqdm": False, "num_train_epochs": 2, "max_phase_steps": 2, "logging_strategy": "epoch"}


def test_an_evaluation_writes_a_row_with_all_of_it(pages, tmp_path):
    trainer = toy_trainer(tmp_path, **SETTINGS, eval_strategy="epoch")
    rows = table(trainer)
    assert [row["Epoch"] for row in rows] == [1, 2]
    logs = trainer.state.log_history
    assert [row["Training Loss"] for row in rows] == [log["loss_a"] for log in logs if "loss_a" in log]
    assert [row["Validation Loss"] for row in rows] == [log["eval_a_loss"] for log in logs if "eval_a_loss" in log]
    assert [row["Accuracy"] for row in rows] == [log["eval_a_accuracy"] for log in logs if "eval_a_accuracy" in log]
    for row, entry in zip(rows, trainer.history, strict=True):
        assert {task: row[f"α {task}"] for task in "abc"} == entry["alpha"]
        assert {task: row[f"w {task}"] for task in "abc"} == entry["task_weights"]
        assert row["Phase"] == "c"  # the last one before the merge
    assert any("α 3/5" in page for page in pages)
    assert any("b 2/2" in page for page in pages)
    assert pages[-1].count("<table") == 1


def test_without_evaluations_rows_follow_the_logs(pages, tmp_path):
    rows = table(toy_trainer(tmp_path, **SETTINGS))
    assert [(row["Step"], row["Phase"]) for row in rows] == [(2, "a"), (6, "c"), (8, "a"), (12, "c")]
    assert "α a" not in rows[0] or rows[0]["α a"] == "No Log"
    assert rows[1]["α a"] != rows[3]["α a"]


def test_evaluations_of_several_tasks_complete_a_row(pages, tmp_path):
    train, meta = toy_data()
    args = toy_args(tmp_path, **SETTINGS, eval_strategy="epoch", eval_auxiliaries=True, alpha_data="train")
    trainer = MultitaskTrainer(
        model=toy_model(), args=args, train_dataset=train, eval_dataset={"a": meta, "b": train["b"]},
        compute_metrics=accuracy,
    )  # fmt: skip
    rows = table(trainer)
    logs = trainer.state.log_history
    assert [row["B accuracy"] for row in rows] == [log["eval_b_accuracy"] for log in logs if "eval_b_accuracy" in log]
    assert [row["Validation Loss"] for row in rows] == [log["eval_a_loss"] for log in logs if "eval_a_loss" in log]
