"""The rows on which α is fitted, held out from datasets of a user's own: labels of every type."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from datasets import Dataset as TableOfRows
from torch.utils.data import Dataset, Subset

from hf_alphavil import MultitaskTrainer, Task
from hf_alphavil.data import TaskDataset
from hf_alphavil.setup.meta_set import split_halves, split_meta_set
from support.toy_run import TARGET, toy_args, toy_data, toy_model

ROWS = 100
SCORES = {
    "float": float,
    "np.float32": np.float32,
    "np.float64": np.float64,
    "array": lambda score: np.array(score, dtype=np.float32),
    "tensor": lambda score: torch.tensor(score, dtype=torch.float32),
    "bfloat16": lambda score: torch.tensor(score, dtype=torch.bfloat16),
    "tensor of one": lambda score: torch.tensor([score], dtype=torch.float64),
    "whole numbers first": lambda score: int(score) if score < 1 else score,
}
CLASSES = {
    "int": int,
    "bool": bool,
    "str": str,
    "np.int64": np.int64,
    "np.bool": np.bool_,
    "array": np.array,
    "tensor": torch.tensor,
}


def held_out(tmp_path, labels, convert):
    """Labels of the meta set of a target whose labels are converted."""
    x = torch.randn(len(labels), 6, dtype=torch.float64)
    rows = [{"x": x[i], "labels": convert(label)} for i, label in enumerate(labels)]
    train, _ = toy_data()
    args = toy_args(tmp_path, alpha_data="train_holdout", num_train_epochs=1)
    trainer = MultitaskTrainer(model=toy_model(), args=args, train_dataset=train | {TARGET: rows})
    assert len(trainer.meta_set) + len(trainer.train_datasets[TARGET]) == len(labels)
    return [row["labels"] for row in trainer.meta_set]


@pytest.mark.parametrize("convert", SCORES.values(), ids=SCORES)
def test_scores_are_not_taken_for_classes(convert, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("hf_alphavil.setup.meta_set.split_holdout", lambda *a: drawn.append(a) or ([0], [1]))
    x = torch.zeros(6)
    rows = [{"x": x, "labels": convert(row / 7)} for row in range(ROWS)]
    args = toy_args(tmp_path, alpha_data="train_holdout")
    MultitaskTrainer(model=toy_model(), args=args, train_dataset=toy_data()[0] | {TARGET: rows})
    assert drawn[0][3] is None


@pytest.mark.parametrize("convert", CLASSES.values(), ids=CLASSES)
def test_classes_are_stratified(convert, tmp_path):
    labels = held_out(tmp_path, [int(row < 30) for row in range(ROWS)], convert)
    assert Counter(map(str, labels)) == {str(convert(0)): 7, str(convert(1)): 3}


@pytest.mark.parametrize("rare", [1, 2, 3, 4, 5])
def test_a_rare_class_of_the_target_is_no_reason_to_refuse(rare, tmp_path):
    labels = held_out(tmp_path, [int(row < rare) for row in range(ROWS)], int)
    assert len(labels) == 10
    assert sum(labels) < rare


def test_a_small_target_holds_out_a_larger_share_and_says_so(tmp_path, caplog):
    assert len(toy_data()[0][TARGET]) == 37
    trainer = MultitaskTrainer(
        model=toy_model(),
        args=toy_args(tmp_path, alpha_data="train_holdout", num_train_epochs=1),
        train_dataset=toy_data()[0],
    )
    assert len(trainer.meta_set) == 8
    assert "'a' has only 37 training rows, so 8 of them are held out" in caplog.text
    trainer.train()
    assert trainer.history[0]["alpha"][TARGET] != 1.0


class Changed(Dataset):
    """Rows that are changed when they are read."""

    def __init__(self, rows, change):
        self.rows, self.change = rows, change

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.change(self.rows[i])


def unlabelled(rows):
    return Changed(rows, lambda row: {"x": row["x"]})


def trainer_on(tmp_path, validation, **settings):
    train, _ = toy_data()
    args = toy_args(tmp_path, num_train_epochs=2, **settings)
    return MultitaskTrainer(model=toy_model(), args=args, train_dataset=train, eval_dataset=validation)


@pytest.mark.parametrize("method", ["alphavil", "forkmerge", "diw", "hydalearn"])
def test_a_meta_set_without_rows_or_labels_is_refused(method, tmp_path):
    _, meta = toy_data()
    for validation, lacks in [(unlabelled(meta), "labels"), (Subset(meta, []), "rows")]:
        with pytest.raises(ValueError, match=f"the validation set of the target 'a', .* has no {lacks}"):
            trainer_on(tmp_path, {TARGET: validation}, method=method)


def test_entropy_needs_no_labels_but_rows(tmp_path):
    _, meta = toy_data()
    settings = {"alpha_objective": "entropy", "alpha_learning_rate": 0.5}
    run = trainer_on(tmp_path, {TARGET: unlabelled(meta)}, **settings)
    run.train()
    assert run.history[0]["alpha"][TARGET] != 1.0
    with pytest.raises(ValueError, match="has no rows"):
        trainer_on(tmp_path, {TARGET: Subset(meta, [])}, **settings)


def test_few_rows_are_warned_of(tmp_path, caplog):
    trainer_on(tmp_path, {TARGET: Subset(toy_data()[1], range(7))})
    assert "The meta set has only 7 rows" in caplog.text


# ---- Groups of rows that a user has tokenised


def passages(count):
    return [{"x": [float(i), 0, 0, 0, 0, 0], "labels": i % 2, "p": f"passage {i // 4}"} for i in range(count)]


def with_tensors(rows):
    """Rows whose passages are numbers in tensors."""
    return Changed(rows, lambda row: row | {"p": torch.tensor(int(row["p"].split()[1]))})


def grouped(tmp_path, rows, **settings):
    source = TableOfRows.from_list([{"text": "a", "label": row["labels"], "p": row["p"]} for row in passages(80)])
    task = Task("a", "sequence_classification", ("text",), ("no", "yes"), group_column="p", train=source)
    args = toy_args(tmp_path, **{"alpha_data": "train_holdout"} | settings)
    train = toy_data()[0] | {TARGET: rows}
    return MultitaskTrainer(model=toy_model(), args=args, tasks=[task], train_dataset=train)


TOKENISED = TableOfRows.from_list(passages(80))
ARRANGED = {
    "in the task's order": TOKENISED,
    "shuffled": TOKENISED.shuffle(seed=1),
    "fewer": TOKENISED.select(range(76)),
    "others": TableOfRows.from_list(passages(122)).select(range(42, 122)),
    "dictionaries": TOKENISED.shuffle(seed=2).to_list(),
    "tensors": with_tensors(TOKENISED.shuffle(seed=3).to_list()),
}


@pytest.mark.parametrize("arranged", ARRANGED)
def test_no_passage_of_a_users_own_rows_is_trained_and_held_out(arranged, tmp_path):
    trainer = grouped(tmp_path, ARRANGED[arranged])
    trained, held_out = (
        [str(row["p"]) for row in rows] for rows in (trainer.train_datasets[TARGET], trainer.meta_set)
    )
    assert len(trained) + len(held_out) == len(ARRANGED[arranged])
    assert len(held_out) >= 8
    assert not set(trained) & set(held_out)


def test_rows_without_their_passages_are_refused_if_they_are_split(tmp_path):
    rows = TOKENISED.remove_columns("p")
    with pytest.raises(ValueError, match=r"equal 'p' \(group_column\) must .* lack the column 'p': keep it"):
        grouped(tmp_path, rows)
    assert len(grouped(tmp_path, rows, alpha_data="train").meta_set) == 80
    assert grouped(tmp_path, rows, method="multitask").meta_set is None


# ---- Halves of the meta set


def halves(tmp_path, num_rows, groups=None, is_own=False, **settings):
    """Groups are a column of the rows if these are the user's own, and otherwise of the task's raw rows."""
    rows = [{"x": torch.zeros(6), "labels": i % 2} | ({"p": groups[i]} if is_own else {}) for i in range(num_rows)]
    source = TableOfRows.from_dict({"p": groups if groups and not is_own else [0]})
    task = SimpleNamespace(
        name=TARGET, kind="sequence_classification", has_one_class=True, group_column="p", train=source
    )
    task = task if groups else None
    args = toy_args(tmp_path, **{"alpha_data": "train_holdout", "alpha_holdout_fraction": 0.5} | settings)
    dataset, tasks = TaskDataset(rows, TARGET), {TARGET: task} if task else {}
    own_rows = [TARGET] if is_own else []
    _, meta = split_meta_set(args, TARGET, {TARGET: dataset}, {}, tasks, None, own_rows)
    return meta, split_halves(args, meta, task, is_own)


@pytest.mark.parametrize("is_own", [False, True])
@pytest.mark.parametrize("alpha_data", ["train_holdout", "train"])
def test_halves_have_the_classes_of_the_whole_and_whole_passages(alpha_data, is_own, tmp_path):
    passages = [i // 5 for i in range(400)]
    meta, (fitted, accepted) = halves(tmp_path, 400, passages, is_own, alpha_data=alpha_data)
    assert sorted(fitted + accepted) == list(range(len(meta)))
    assert len(accepted) == pytest.approx(len(meta) / 2, abs=5)
    numbers = meta.dataset.indices if alpha_data == "train_holdout" else range(400)
    assert not {passages[numbers[i]] for i in fitted} & {passages[numbers[i]] for i in accepted}
    shares = [sum(meta[i]["labels"] for i in half) / len(half) for half in (fitted, accepted)]
    assert shares[0] == pytest.approx(shares[1], abs=0.1)


def test_halves_without_passages_have_equal_classes(tmp_path):
    meta, (fitted, accepted) = halves(tmp_path, 80)
    assert len(fitted) == len(accepted) == 20
    for half in (fitted, accepted):
        assert Counter(meta[i]["labels"] for i in half) == {0: 10, 1: 10}


def test_too_few_rows_for_halves(tmp_path):
    with pytest.raises(
        ValueError, match=r"alpha_acceptance='held_out' needs 8 rows .* has 14 rows: raise alpha_holdout"
    ):
        halves(tmp_path, 28)
    _, meta = toy_data()
    settings = {"alpha_acceptance": "held_out", "alpha_data": "train_holdout"}
    with pytest.raises(ValueError, match="alpha_acceptance='held_out' needs 8 rows"):
        trainer_on(tmp_path, {TARGET: meta}, **settings).train()


# ---- The best model

SELECTING = {
    "load_best_model_at_end": {"load_best_model_at_end": True, "save_strategy": "epoch"},
    "save_strategy": {"save_strategy": "best", "metric_for_best_model": "loss"},
    "lr_scheduler_type": {"lr_scheduler_type": "reduce_lr_on_plateau"},
}
MULTITASK = {"method": "multitask", "eval_strategy": "epoch"}


@pytest.mark.parametrize("setting", SELECTING)
def test_rows_that_cannot_select_the_best_model_are_refused(setting, tmp_path):
    _, meta = toy_data()
    settings = {**SELECTING[setting], **MULTITASK}
    for validation, lacks in [
        ({TARGET: unlabelled(meta)}, "the validation rows of task 'a' have no labels"),
        ({TARGET: Subset(meta, [])}, "the validation set of task 'a' has no rows"),
        ({"b": meta}, "task 'a' has no validation set"),
    ]:
        with pytest.raises(ValueError, match=f"^{setting}=.* needs metric_for_best_model='eval_a_loss', but {lacks}"):
            trainer_on(tmp_path, validation, **settings)


def test_an_auxiliary_selects_the_best_model_only_if_it_is_evaluated(tmp_path):
    train, meta = toy_data()
    settings = {**SELECTING["load_best_model_at_end"], **MULTITASK, "metric_for_best_model": "eval_b_loss"}
    validation = {TARGET: meta, "b": train["b"]}
    with pytest.raises(ValueError, match="leave the auxiliary task 'b' out: pass eval_auxiliaries=True"):
        trainer_on(tmp_path, validation, **settings)
    run = trainer_on(tmp_path, validation, **settings, eval_auxiliaries=True)
    run.train()
    assert run.state.best_metric == min(log["eval_b_loss"] for log in run.state.log_history if "eval_b_loss" in log)


@pytest.mark.parametrize("lacks", ["labels", "rows"])
def test_evaluations_that_select_nothing_may_lack_the_metric(lacks, tmp_path):
    """As with Trainer itself."""
    _, meta = toy_data()
    run = trainer_on(tmp_path, {TARGET: unlabelled(meta) if lacks == "labels" else Subset(meta, [])}, **MULTITASK)
    run.train()
    assert sum("eval_a_runtime" in log for log in run.state.log_history) == 2
