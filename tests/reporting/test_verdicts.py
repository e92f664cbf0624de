"""Verdicts follow the interval of the total contribution."""

import math

import numpy as np
import pytest
from scipy import stats

from hf_alphavil.methods.contributions import Contributions
from hf_alphavil.reporting import (
    CardTask,
    Verdict,
    format_summary_table,
    read_history,
    verdicts,
    write_history,
    write_model_card,
)
from hf_alphavil.reporting.verdicts import HELPED, HURT, NO_EFFECT, TOO_FEW_ROWS, verdicts_in_short
from support.example_run import HISTORY

DRAW = np.random.default_rng(3)
ROWS = {
    "helper": DRAW.normal(0.3, 0.5, 60),
    "harmful": DRAW.normal(-0.3, 0.5, 60),
    "idle": DRAW.normal(0.0, 0.05, 60),
    "noisy": DRAW.normal(0.0, 2.0, 60),
    "unknown": np.array([0.4]),
}


def history(loss=0.8):
    """Three epochs alike, which sum up to `ROWS`."""
    contributions, of_epoch = Contributions(), {task: of_rows / 3 for task, of_rows in ROWS.items()}
    return [{**HISTORY[0], "epoch": epoch, **contributions.add(of_epoch, loss)} for epoch in (1, 2, 3)]


@pytest.mark.parametrize("stored", [False, True])
def test_verdicts_are_those_of_the_t_test(tmp_path, stored):
    entries = history()
    if stored:
        write_history(entries, tmp_path)
        entries = read_history(tmp_path)
    found = verdicts(entries)
    words = {task: verdict.words for task, verdict in found.items()}
    assert words == {
        "helper": HELPED,
        "harmful": HURT,
        "idle": NO_EFFECT,
        "noisy": TOO_FEW_ROWS,
        "unknown": TOO_FEW_ROWS,
    }
    for task, verdict in found.items():
        if task != "unknown":
            is_clear = stats.ttest_1samp(ROWS[task], 0).pvalue < 0.05
            assert is_clear == (verdict.words in (HELPED, HURT))
            interval = stats.ttest_1samp(ROWS[task], 0).confidence_interval(0.95)
            assert verdict.contribution + verdict.half_width == pytest.approx(interval.high)
    assert found["unknown"].interval == "+0.400"


def of_epochs(*means, error=0.1):
    """A history of epochs with given contributions; rows are as many and as wide in each."""
    draw = (DRAW.permutation(60) - 29.5) / 17.3  # mean 0, spread 1
    contributions = Contributions()
    return [
        {"epoch": number, **contributions.add({"task": mean + draw * error * 60**0.5}, 1.0)}
        for number, mean in enumerate(means, start=1)
    ]


@pytest.mark.parametrize(
    ("means", "words"),
    [
        ((0.9, 0.8, 1.0), HELPED),
        ((-0.9, -0.8, -1.0), HURT),
        ((3.0, 0.0, -0.1), NO_EFFECT),  # one epoch alone
        ((2.0, -0.8, 1.0), NO_EFFECT),
        ((9.0, -0.5, -0.6, -0.5), NO_EFFECT),
        ((1.2, 0.2, 0.9, 0.2), HELPED),  # t = 2.47; the 95th percentile of three degrees of freedom is 2.35
        ((1.2, 0.1, 0.9, 0.1), NO_EFFECT),  # t = 2.05
    ],
)
def test_epochs_must_agree(means, words):
    entries = of_epochs(*means)
    assert verdicts(entries)["task"].words == words
    total = entries[-1]["total_contribution"]["task"]
    assert abs(total["mean"]) > 2.1 * total["standard_error"]  # the rows alone would say so
    scores = [
        entry["contribution"]["task"]["mean"] / entry["contribution"]["task"]["standard_error"] for entry in entries
    ]
    alternative = "greater" if total["mean"] > 0 else "less"
    assert (stats.ttest_1samp(scores, 0, alternative=alternative).pvalue < 0.05) == (words != NO_EFFECT)


@pytest.mark.parametrize("sign", [1, -1])
def test_fewer_than_three_epochs_tell_nothing(sign):
    entries = of_epochs(*[0.9 * sign, 0.8 * sign, 1.0 * sign])
    words = [verdicts(entries[:count])["task"].words for count in (1, 2, 3)]
    assert words == [TOO_FEW_ROWS, TOO_FEW_ROWS, HELPED if sign > 0 else HURT]
    assert verdicts(of_epochs(0.0001 * sign, error=0.001))["task"].words == TOO_FEW_ROWS
    assert verdicts(entries[:1], least_epochs=1)["task"].words == words[-1]
    # Epochs count by task: those of the target alone, and those that did not choose a task, measure nothing.
    alone = [{**entries[1], "epoch": epoch, "contribution": {}} for epoch in (3, 4)]
    assert verdicts([*entries[:2], *alone])["task"].words == TOO_FEW_ROWS


@pytest.mark.parametrize("sign", [1, -1])
def test_an_effect_must_be_five_percent_of_the_loss(sign):
    for each, words in ((0.016, NO_EFFECT), (0.018, HELPED if sign > 0 else HURT)):  # of a loss of 1
        entries = of_epochs(*[each * sign * part for part in (0.9, 1.0, 1.1)], error=0.001)
        assert verdicts(entries)["task"].words == words
        assert verdicts(entries, small_effect=0.0)["task"].words == (HELPED if sign > 0 else HURT)


@pytest.mark.parametrize(
    ("contribution", "half", "shown"),
    [
        (0.12, 0.031, "+0.120 ± 0.031"),
        (-1.0, 0.25, "-1.000 ± 0.250"),
        (0.0012, 0.00031, "+0.00120 ± 0.00031"),
        (0.25, 1e-17, "+0.250 ± 0"),
        (0.25, 0.0, "+0.250 ± 0"),
        (0.00042, None, "+0.00042"),
        (math.nan, None, "+nan"),
    ],
)
def test_two_digits_of_the_error_are_shown(contribution, half, shown):
    assert Verdict(HELPED, contribution, half).interval == shown


def test_what_verdicts_are_is_said_with_rows_and_epochs(tmp_path):
    entries, few = of_epochs(0.9, 0.8, 1.0), of_epochs(0.9)
    assert "on 60 held-out rows over 3 epochs with forks. They are hints and no proof" in verdicts_in_short(entries)
    assert "on 60 held-out rows over 1 epoch with forks (3 are needed to tell). " in verdicts_in_short(few)
    assert verdicts_in_short([HISTORY[0]]) == verdicts_in_short([]) == ""
    unknown = [{"epoch": 1, **Contributions().add({"task": np.array([0.4])}, 1.0)}]
    assert "on held-out rows, whose single losses are not known, over 1 epoch" in verdicts_in_short(unknown)
    tasks = [CardTask("task", "sequence_classification", 60)]
    card = write_model_card(tmp_path, model_name="m", target="task", method="alphavil", tasks=tasks, history=few)
    assert verdicts_in_short(few) in card.read_text(encoding="utf-8")
    table = format_summary_table("task", "accuracy", 0.5, few, "alphavil")
    assert table.splitlines()[-1] == verdicts_in_short(few)
    assert table.isascii()


def test_epochs_after_the_kept_one_do_not_count():
    entries = of_epochs(0.9, 0.8, 1.0, -3.0)
    for entry in entries:
        entry["kept"] = entry["epoch"] == 3
    assert verdicts(entries)["task"].words == HELPED


def test_what_is_small_depends_on_the_loss():
    assert verdicts(history(loss=0.01))["idle"].words == TOO_FEW_ROWS


def test_the_kept_epoch_decides():
    *others, third = (entry | {"kept": False} for entry in history())
    last = HISTORY[1] | {"epoch": 4}
    assert verdicts([*others, third | {"kept": True}, last | {"kept": False}])["helper"].words == HELPED
    entries = [*others, third, last | {"kept": True}]
    assert verdicts(entries) == {}
    assert verdicts([]) == {}


def test_the_summary_leads_with_the_verdict():
    contributions, of_epoch = Contributions(), {"rte": ROWS["helper"], "mrpc": ROWS["harmful"]}
    entries = [{**HISTORY[0], "epoch": epoch, **contributions.add(of_epoch, 0.8)} for epoch in (1, 2, 3)]
    lines = format_summary_table("rte", "accuracy", 0.5, entries, "alphavil").splitlines()
    assert lines[2].split() == ["task", "verdict", "loss", "saved", "alpha", "weight"]
    saved = verdicts(entries)["rte"].interval.replace("±", "+/-")
    assert lines[4].split() == ["rte", "(target)", "helped", *saved.split(), "1.500", "1.500"]
    assert lines[5].split()[:2] == ["mrpc", "hurt"]
    assert all(line.isascii() for line in lines)
