"""A task of every kind in one run: trained, resumed, evaluated, with two processes."""

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from torch.nn import functional as F
from torch.utils.data import Subset
from transformers import EvalPrediction

from hf_alphavil import MultitaskModel
from hf_alphavil.data import TaskDataset, select_columns
from hf_alphavil.data.masked_lm import MaskedLMCollator
from hf_alphavil.data.multiple_choice import MultipleChoiceCollator
from hf_alphavil.kinds.choices import ChoiceSmoother
from hf_alphavil.reporting.card import last_scores
from support.comparing import assert_same_run
from support.forking import fork_runs
from support.kinds_run import every_kind, kinds_trainer, run_kinds, word_tokenizer

METRICS = {
    "pair": "accuracy", "tags": "f1_micro", "score": "combined_score", "quiz": "accuracy", "names": "span_f1",
    "prose": "accuracy", "other": "exact_match",
}  # fmt: skip


@pytest.mark.parametrize("target", [name for name in METRICS if name != "other"])
def test_every_kind_is_a_target(target, tmp_path):
    run = run_kinds(tmp_path, target=target, max_phase_steps=2)
    assert set(run["history"][0]["alpha"]) == set(METRICS) - {"other"}
    for name, scores in run["scores"].items():
        assert np.isfinite(scores[f"eval_{name}_loss"])
        assert -1 <= scores[f"eval_{name}_{METRICS[name]}"] <= 1


@pytest.mark.parametrize("objective", ["loss", "metric", "entropy"])
@pytest.mark.parametrize("target", ["tags", "names", "prose", "quiz"])
def test_objectives_of_alpha(target, objective, tmp_path):
    settings = {"alpha_objective": objective, "max_phase_steps": 1, "alpha_data": "train_holdout"}
    settings |= {"alpha_holdout_fraction": 0.4, "alpha_steps": 2}
    if objective == "metric":
        settings |= {"alpha_optimizer": "gradient_free", "metric_for_best_model": METRICS[target]}
    if objective == "entropy" and target != "quiz":
        with pytest.raises(ValueError, match="needs a target that predicts one class of several"):
            kinds_trainer(tmp_path, target=target, **settings).train()
        return
    trainer = kinds_trainer(tmp_path, target=target, **settings)
    trainer.train()
    assert all(np.isfinite(alpha) for alpha in trainer.history[0]["alpha"].values())


@pytest.mark.parametrize("method", ["multitask", "pcgrad", "forkmerge", "tawt"])
def test_other_methods(method, tmp_path):
    trainer = kinds_trainer(tmp_path, target="names", method=method, max_phase_steps=2, num_train_epochs=2)
    trainer.train()
    assert all(torch.isfinite(tensor).all() for tensor in trainer.model.state_dict().values())


def test_resume_is_exact(tmp_path):
    settings = {"save_strategy": "steps", "save_steps": 5, "optim": "adamw_torch", "learning_rate": 0.01}
    settings |= {"max_phase_steps": 2}
    whole = run_kinds(tmp_path / "whole", **settings)
    for step in (5, 10):  # of 12, two of each task
        resumed = run_kinds(
            tmp_path / "resumed", resume_from_checkpoint=str(tmp_path / "whole" / f"checkpoint-{step}"), **settings
        )
        assert_same_run(whole, resumed)


def test_label_smoothing_is_over_the_choices_of_a_row():
    logits = torch.tensor([[0.3, -1.0, 2.0], [1.5, 0.2, torch.finfo(torch.float32).min]], requires_grad=True)
    mask, labels = torch.tensor([[True, True, True], [True, True, False]]), torch.tensor([2, 0])
    rows = [(logits[0], 2), (logits[1, :2], 0)]
    expected = torch.stack([F.cross_entropy(row[None], torch.tensor([y]), label_smoothing=0.2) for row, y in rows])
    loss = ChoiceSmoother(0.2, mask)({"logits": logits}, labels)
    torch.testing.assert_close(loss, expected.mean())
    assert torch.isfinite(torch.autograd.grad(loss, logits)[0]).all()


def test_every_kind_trains_with_label_smoothing(tmp_path):
    settings = {"max_phase_steps": 2, "dropout": 0.0, "logging_strategy": "steps", "logging_steps": 1}
    smoothed, plain = (
        run_kinds(tmp_path / str(factor), label_smoothing_factor=factor, **settings) for factor in (0.2, 0.0)
    )

    def loss(run, task):
        return next(entry[f"loss_{task}"] for entry in run["log_history"] if f"loss_{task}" in entry)

    # From the same parameters each: scores, and several labels at once, are not smoothed.
    assert {task for task in METRICS if task != "other" and loss(smoothed, task) == loss(plain, task)} == {
        "tags", "score",
    }  # fmt: skip
    assert all(torch.isfinite(tensor).all() for tensor in smoothed["state"].values())


@pytest.mark.distributed
def test_two_processes_equal_one(tmp_path):
    """Batches of 4 on each of two processes equal batches of 8 on one, except for means over a process's tokens."""
    every = {"target": "quiz", "max_phase_steps": 2}
    by_row = {"target": "quiz", "leave_out": ["prose", "names"], "dropout": 0.0, "max_phase_steps": 2}
    runs = [{"output_dir": str(tmp_path / name), **settings} for name, settings in (("a", every), ("b", by_row))]
    two = fork_runs(run_kinds, runs, "ddp", 2)
    assert set(two[0]["scores"]) == set(METRICS)
    for name, scores in two[0]["scores"].items():
        assert np.isfinite(scores[f"eval_{name}_loss"])
    one = run_kinds(tmp_path / "one", **by_row, per_device_train_batch_size=8)
    for name, alpha in one["history"][0]["alpha"].items():
        assert two[1]["history"][0]["alpha"][name] == pytest.approx(alpha, abs=1e-5)
    for name, tensor in one["state"].items():
        torch.testing.assert_close(two[1]["state"][name], tensor, rtol=1e-4, atol=1e-5, msg=name)
    for name, scores in one["scores"].items():
        key = f"eval_{name}_{METRICS[name]}"
        assert two[1]["scores"][name][key] == pytest.approx(scores[key], abs=1e-4)


# ---- Evaluation-only tasks


def test_a_task_with_the_head_of_another(tmp_path):
    trainer = kinds_trainer(tmp_path, target="pair")
    assert "other" not in trainer.model.config.tasks
    assert "other" not in trainer.train_datasets
    both = trainer.evaluate()
    assert {"eval_pair_accuracy", "eval_other_f1a", "eval_other_exact_match"} <= set(both)
    alone = trainer.evaluate("other")
    assert alone["eval_other_f1a"] == both["eval_other_f1a"]
    # By hand: the head of `pair` on the rows of `other`.
    rows = every_kind()["other"].validation
    tokenized = every_kind()["other"].tokenize("validation", word_tokenizer())
    model = trainer.model.eval()
    predicted = []
    with torch.no_grad():
        for row in tokenized:
            inputs = {name: torch.tensor([row[name]]) for name in ("input_ids", "attention_mask")}
            predicted.append(int(model(task="pair", **inputs).logits.argmax()))
    assert alone["eval_other_f1a"] == pytest.approx(f1_score(rows["label"], predicted))
    questions = set(rows["question_id"])
    right = [
        all(p == r for p, r, q in zip(predicted, rows["label"], rows["question_id"], strict=True) if q == question)
        for question in questions
    ]
    assert alone["eval_other_exact_match"] == pytest.approx(np.mean(right))
    assert trainer.predict("other").predictions.shape == (5, 2)
    card = trainer.create_model_card() or (tmp_path / "README.md")
    text = card.read_text(encoding="utf-8")
    assert f"| other | validation | f1a | {alone['eval_other_f1a']:.4f} |" in text
    assert "`other`" not in text.split("## Tasks")[0]  # it is no auxiliary


def test_scores_go_to_the_task_with_the_longest_name():
    log = [{"eval_mnli_accuracy": 0.5, "eval_mnli_mismatched_accuracy": 0.25, "eval_mnli_loss": 1.0, "epoch": 1}]
    scores = last_scores(log, ["mnli", "mnli_mismatched"])
    assert [(score.task, score.metric, score.value) for score in scores] == [
        ("mnli", "accuracy", 0.5),
        ("mnli_mismatched", "accuracy", 0.25),
    ]


def test_an_evaluation_only_task_needs_the_other(tmp_path):
    tasks = every_kind()
    trainer = kinds_trainer(tmp_path)
    for lacking, reason in ((("pair",), "evaluated with the head of task 'pair', which is not one of"), ((), None)):
        kept = {name: task for name, task in tasks.items() if name not in lacking}
        if reason is None:
            kept["pair"] = kept["pair"].__class__(
                "pair", "sequence_classification", ("text",), ("b", "a"), train=tasks["pair"].train
            )
            reason = "both need the same kind, problem type and labels"
        with pytest.raises(ValueError, match=reason):
            type(trainer)(model=trainer.model, args=trainer.args, tasks=kept, processing_class=word_tokenizer())


def test_rows_that_metrics_read_follow_the_rows_that_are_scored(tmp_path):
    task = every_kind()["other"]
    tokenized = task.tokenize("validation", word_tokenizer())
    assert tokenized["question_id"][:] == task.validation["question_id"][:]
    subset = TaskDataset(Subset(tokenized, [5, 2, 7]), "other")
    assert select_columns(subset, ["question_id"], [2, 0])["question_id"][:] == [
        tokenized["question_id"][7],
        tokenized["question_id"][5],
    ]
    as_list = [tokenized[row] for row in range(3)]
    assert select_columns(as_list, ["question_id"])["question_id"][:] == tokenized["question_id"][:3]
    with pytest.raises(ValueError, match="read the columns pair_id, which the dataset lacks"):
        select_columns(tokenized, ["pair_id"])
    prediction = EvalPrediction(np.eye(2)[[0, 1]], np.array([0, 1]))
    with pytest.raises(ValueError, match="rows"):
        task.compute_metrics(prediction)  # the validation split has eight
    assert task.compute_metrics(prediction, task.validation.select([0, 1]))["exact_match"] == 1.0


# ---- Collators


def test_masks_are_a_function_of_the_batch():
    tokenizer = word_tokenizer()
    rows = [tokenizer(text) for text in ("w1 w2 w3 w4 w5", "w6 w7", "w8 w9 w10")]
    collate = MaskedLMCollator(tokenizer, mlm_probability=0.5)
    torch.manual_seed(1)
    first = collate(rows)
    torch.manual_seed(2)
    again = MaskedLMCollator(tokenizer, mlm_probability=0.5)(rows)
    assert all(torch.equal(first[name], again[name]) for name in first)
    other_seed = MaskedLMCollator(tokenizer, mlm_probability=0.5, seed=5)(rows)
    other_rows = collate(rows[::-1])
    assert not torch.equal(first["labels"], other_seed["labels"])
    assert not torch.equal(first["labels"], other_rows["labels"].flip(0))
    whole = tokenizer.pad({"input_ids": [row["input_ids"] for row in rows]}, return_tensors="pt")["input_ids"]
    masked = first["labels"] != -100
    assert torch.equal(first["labels"][masked], whole[masked])
    assert not masked[whole < len(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"))].any()
    state = torch.get_rng_state()
    collate(rows)
    assert torch.equal(state, torch.get_rng_state())


def test_some_token_is_always_masked():
    tokenizer = word_tokenizer()
    places = set()
    for seed in range(40):
        collate = MaskedLMCollator(tokenizer, mlm_probability=1e-9, seed=seed)
        batch = collate([tokenizer("w1 w2"), tokenizer("w3")])
        ((row, column),) = torch.nonzero(batch["labels"] != -100).tolist()
        places.add((row, column))
        assert batch["labels"][row, column] == tokenizer.convert_tokens_to_ids(f"w{row * 2 + column}")
        assert batch["input_ids"][row, column] == tokenizer.mask_token_id
    assert places == {(0, 1), (0, 2), (1, 1)}  # no word more than another
    # In rows of unknown words alone, any token but padding may be masked.
    tokenizer.padding_side = "left"
    for seed in range(20):
        batch = MaskedLMCollator(tokenizer, mlm_probability=1e-9, seed=seed)([tokenizer("?"), tokenizer("? ? ?")])
        ((row, column),) = torch.nonzero(batch["labels"] != -100).tolist()
        assert batch["attention_mask"][row, column] == 1


def test_the_masked_share_is_about_mlm_probability():
    tokenizer = word_tokenizer()
    rows = [tokenizer(" ".join(f"w{(n * k) % 20}" for k in range(30))) for n in range(1, 60)]
    labels = MaskedLMCollator(tokenizer, mlm_probability=0.3)(rows)["labels"]
    assert (labels != -100).sum().item() / (59 * 30) == pytest.approx(0.3, abs=0.04)


def test_choices_are_padded_to_the_number_of_the_task():
    task, tokenizer = every_kind()["quiz"], word_tokenizer()
    assert task.labels == ("0", "1", "2", "3")
    rows = task.tokenize("train", tokenizer)
    counts = [len(row["input_ids"]) for row in rows]
    assert sorted(set(counts)) == [2, 3, 4]
    collate = MultipleChoiceCollator(tokenizer, num_choices=4)
    batch = collate([rows[n] for n in range(6)])
    assert batch["input_ids"].shape[:2] == (6, 4)
    assert batch["choice_mask"].sum(dim=1).tolist() == counts[:6]
    full = [row for row in rows if len(row["input_ids"]) == 4]
    assert "choice_mask" not in collate(full[:2])
    unlabelled = collate([{k: v for k, v in rows[n].items() if k != "labels"} for n in range(3)])
    assert "labels" not in unlabelled
    assert "choice_mask" in unlabelled


# ---- The exported model


@pytest.mark.parametrize("task", ["tags", "names", "prose", "quiz"])
def test_export(task, tmp_path):
    from transformers import (
        AutoModelForMaskedLM,
        AutoModelForMultipleChoice,
        AutoModelForSequenceClassification,
        AutoModelForTokenClassification,
    )

    trainer = kinds_trainer(tmp_path / "run", target=task)
    trainer.export_task(task, tmp_path / "export")
    auto_class = {
        "tags": AutoModelForSequenceClassification,
        "names": AutoModelForTokenClassification,
        "prose": AutoModelForMaskedLM,
        "quiz": AutoModelForMultipleChoice,
    }[task]
    exported = auto_class.from_pretrained(tmp_path / "export").eval()
    ids = torch.tensor([[2, 7, 9, 3]])
    ids = ids[None] if task == "quiz" else ids
    model: MultitaskModel = trainer.model.eval()
    with torch.no_grad():
        torch.testing.assert_close(exported(ids).logits, model(task=task, input_ids=ids).logits)
    card = trainer.create_model_card() or (tmp_path / "run" / "README.md")
    assert {"names": "token-classification", "prose": "fill-mask"}.get(task, "") in card.read_text(encoding="utf-8")
