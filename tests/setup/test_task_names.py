"""Names of tasks in the trainer's arguments: mistyped names, a name twice, and tasks that are left out of training."""

import dataclasses

import pytest

from hf_alphavil import MultitaskConfig, MultitaskModel, MultitaskTrainer
from support.kinds_run import every_kind, word_tokenizer
from support.toy_run import TARGET, accuracy, toy_args, toy_data, toy_model

TASKS = {name: every_kind()[name] for name in ("pair", "score", "tags")}


def toy(folder, **arguments):
    train, meta = toy_data()
    defaults = {"eval_dataset": {TARGET: meta}, "compute_metrics": accuracy}
    return MultitaskTrainer(model=toy_model(), args=toy_args(folder), train_dataset=train, **defaults | arguments)


def of_kinds(folder, tasks=TASKS, heads=TASKS, method="multitask", **arguments):
    args = toy_args(folder, target_task="pair", num_train_epochs=1, method=method)
    model = MultitaskModel(MultitaskConfig(tasks=heads, **SMALL))
    return MultitaskTrainer(model=model, args=args, tasks=tasks, processing_class=word_tokenizer(), **arguments)


SMALL = {
    "encoder": {
        "model_type": "bert", "vocab_size": 25, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 8, "max_position_embeddings": 40,
    }
}  # fmt: skip


def collate(rows):
    pytest.fail("called")


@pytest.mark.parametrize("argument", ["eval_dataset", "compute_metrics", "data_collator"])
def test_a_name_of_no_task_is_refused(argument, tmp_path):
    value = {"eval_dataset": toy_data()[1], "compute_metrics": accuracy, "data_collator": collate}[argument]
    with pytest.raises(ValueError, match=f"^{argument}: there is no task 'A': .* a, b, c. Did you mean 'a'?"):
        toy(tmp_path, **{argument: {"A": value}})


def test_names_of_tasks_that_a_run_does_not_train_are_known(tmp_path):
    """A name may be that of another head of the model, or of a task that is left out of training."""
    trained = {"pair": TASKS["pair"]}
    named = dict.fromkeys(TASKS, accuracy)
    two = {name: TASKS[name] for name in ("pair", "score")}
    trainer = of_kinds(tmp_path, two, train_dataset=trained, compute_metrics=named)
    assert list(trainer.train_datasets) == ["pair"]


def test_two_tasks_of_one_name_are_refused(tmp_path):
    score = TASKS["score"]
    twice = [TASKS["pair"], score, dataclasses.replace(score, train=score.train.select(range(5)))]
    message = "tasks has 2 tasks with the name 'score': leave one out, or pass a dict"
    with pytest.raises(ValueError, match=message):
        of_kinds(tmp_path, twice)
    with pytest.raises(ValueError, match=message):
        MultitaskConfig(tasks=twice)
    trainer = of_kinds(tmp_path, TASKS.values())
    assert {name: len(rows) for name, rows in trainer.train_datasets.items()} == dict.fromkeys(TASKS, 24)


def test_tasks_that_the_training_rows_leave_out_are_named(tmp_path, caplog):
    message = "train_dataset leaves out score, tags, whose tasks have training rows: they are not trained."
    pair = {"pair": TASKS["pair"].train}
    assert list(of_kinds(tmp_path, train_dataset=pair).train_datasets) == ["pair"]
    assert message in caplog.text
    caplog.clear()
    assert list(of_kinds(tmp_path, train_dataset=TASKS).train_datasets) == list(TASKS)
    of_kinds(tmp_path, train_dataset=pair, method="single")  # which trains no auxiliaries
    evaluated = {name: dataclasses.replace(task, train=None) for name, task in TASKS.items()}
    of_kinds(tmp_path, evaluated, train_dataset=pair)
    assert "leaves out" not in caplog.text
