"""What summary, card and page say of phases that diverged and were undone."""

import re

import pytest
import torch

from hf_alphavil import MultitaskTrainer
from hf_alphavil.reporting import format_summary_table
from hf_alphavil.reporting.undone import undone_in_words
from support.example_run import HISTORY
from support.page_reader import Page
from support.toy_run import TARGET, accuracy, toy_args, toy_data, toy_model


@pytest.mark.parametrize(
    ("epochs", "words"),
    [
        ([], ""),
        ([4], "Diverged and undone: b in epoch 4."),
        ([2, 3], "Diverged and undone: b in epochs 2 to 3."),
        ([1, 3], "Diverged and undone: b in epochs 1 and 3."),
        ([1, 2, 3, 5, 7, 8], "Diverged and undone: b in epochs 1 to 3 and 5 and 7 to 8."),
    ],
)
def test_epochs_in_a_row_are_ranges(epochs, words):
    history = [{"epoch": epoch, "dropped": {"b": 0} if epoch in epochs else {}} for epoch in range(1, 10)]
    assert undone_in_words(history) == words


def test_the_summary_says_it_below_the_table_and_shows_no_alpha():
    last = {**HISTORY[1], "alpha": {"rte": 1.25}, "dropped": {"(joint)": 3, "mrpc (round 2)": 0}}
    assert format_summary_table("rte", "accuracy", 0.5, [HISTORY[0], last], "alphavil").splitlines()[2:] == [
        "task          alpha  weight",
        "------------  -----  ------",
        "rte (target)  1.250   1.750",
        "mrpc              -   0.100",
        "Diverged and undone: (joint) in epoch 2, mrpc (round 2) in epoch 2.",
    ]


def test_a_run_whose_auxiliary_is_never_finite_says_so_everywhere(tmp_path):
    """The loss of `b` is NaN in all its steps, in joint phases and forks; the last epochs train the target alone."""
    (train, meta), model = toy_data(), toy_model()
    forward, head = model.forward, {name: p.clone() for name, p in model.heads["b"].named_parameters()}

    def poisoned(task, x=None, labels=None):
        outputs = forward(task, x, labels)
        if task == "b" and model.training:
            outputs["loss"] = outputs["loss"] * float("nan")
        return outputs

    model.forward = poisoned
    args = toy_args(
        tmp_path / "run", alphavil_preset="joint", num_train_epochs=5, final_target_epochs=2, logging_strategy="epoch"
    )
    trainer = MultitaskTrainer(
        model=model, args=args, train_dataset=train, eval_dataset={TARGET: meta}, compute_metrics=accuracy
    )
    trainer.train()
    assert all(torch.equal(p, head[name]) for name, p in model.heads["b"].named_parameters())
    score = trainer.evaluate()["eval_a_accuracy"]
    trainer.create_model_card()
    trainer.write_report()
    card, page = (tmp_path / "run" / "README.md").read_text(encoding="utf-8"), Page(tmp_path / "run" / "report.html")
    summary = format_summary_table(TARGET, "accuracy", score, trainer.history, "alphavil")
    sentence = "Diverged and undone: (joint) in epochs 1 to 3, b in epochs 1 to 3."
    assert sentence in summary.splitlines()
    assert sentence in card.splitlines()
    assert sentence in page.sections["verdicts"]
    weight = f"{trainer.history[-1]['task_weights']['b']:.3f}"
    assert re.search(rf"^b .* -  +{weight}$", summary, re.MULTILINE)
    assert re.search(rf"^\| b \| .* \| {weight} \| – \|$", card, re.MULTILINE)
    assert re.search(rf"\sb\D*50{weight}–\s", page.sections["rows"])
    assert not any("alpha_b" in entry for entry in trainer.state.log_history)
