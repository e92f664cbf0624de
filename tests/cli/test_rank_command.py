"""`alphavil rank`: the table, the names for `--auxiliary`, the JSON file, and what is refused."""

import json
import random

import pytest

from hf_alphavil.cli import rank
from hf_alphavil.cli.main import main
from hf_alphavil.demo.suite import demo_encoder
from hf_alphavil.ranking import COST, DIVERGED, SAVED, AuxiliaryRanking
from hf_alphavil.reporting.verdicts import Verdict
from support.driving import call_main
from support.forking import fork

TASKS = """
mood: {kind: sequence_classification, text_columns: [text], files: {splits: {train: mood.csv}}}
again: {kind: sequence_classification, text_columns: [text], files: {splits: {train: mood.csv}}}
other: {kind: sequence_classification, text_columns: [text], files: {splits: {train: other.csv}}}
"""


@pytest.fixture
def words(tmp_path):
    """The command line, without `--candidates`."""
    demo_encoder(tmp_path / "enc")
    draw = random.Random(0)
    (tmp_path / "tasks.yaml").write_text(TASKS)
    for name in ("mood", "other"):
        rows = [f"{draw.choice('abc')} x,{draw.choice(['good', 'bad'])}\n" for _ in range(60)]
        (tmp_path / f"{name}.csv").write_text("text,label\n" + "".join(rows))
    given = {"target": "mood", "task_config": tmp_path / "tasks.yaml", "model_name_or_path": tmp_path / "enc"}
    given |= {"target_steps": 2, "probe_steps": 2, "recipe": "none", "disable_tqdm": "true"}
    return ["rank", "--use_cpu", *(str(word) for name, value in given.items() for word in (f"--{name}", value))]


def test_a_table_and_a_file_or_only_names(words, tmp_path):
    ran = fork(call_main, main, "alphavil", [*words, "--output", str(tmp_path / "out" / "ranking.json")])
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert "all: 1 tasks: other" in lines
    assert "  left out: again (the rows of mood)" in lines
    assert [line.split()[0] for line in lines[-2:]] == ["mood", "other"]
    ranking = json.loads((tmp_path / "out" / "ranking.json").read_text(encoding="utf-8"))
    assert list(ranking["effects"]) == ["other"]
    assert (ranking["target"], ranking["target_steps"], ranking["probe_steps"]) == ("mood", 2, 2)
    assert ranking["rows"] == 18  # 30 % of 60
    assert str(round(ranking["effects"]["other"]["contribution"], 3)) in lines[-1]


def test_names_alone(words, tmp_path):
    ran = fork(call_main, main, "alphavil", [*words, "--candidates", "other", "again", "--top", "2"])
    assert ran.returncode == 0, ran.stderr
    assert sorted(ran.stdout.split()) == ["again", "other"]
    assert "mood: what 2 steps of each task save" in ran.stderr


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--candidates", "none"], "--candidates none: name tasks other than the target, or pass all"),
        (["--candidates", "other", "--top", "0"], "--top 0: pass a positive number of names"),
        (["--candidates", "othr"], "unknown task 'othr'"),
        (["--candidates", "other", "--probe_steps", "0"], "probe_steps=0: pass a positive whole number"),
        (["--auxiliary", "other"], "unknown flag --auxiliary"),
    ],
)
def test_what_is_refused_is_one_line(words, more, message, capsys):
    with pytest.raises(SystemExit) as end:
        main([*words, *more])
    assert end.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_no_candidate_is_left(words, monkeypatch, capsys):
    effects = {"other": Verdict(COST, -0.1, 0.01), "again": Verdict(DIVERGED, float("nan"), None)}
    ranking = AuxiliaryRanking("mood", effects, Verdict(SAVED, 0.1, 0.01), 0.5, 18, 2, 2, 1)
    monkeypatch.setattr(rank, "_rank", lambda *arguments: ranking)
    assert main(words) == 0
    assert "cost loss" in capsys.readouterr().out
    assert main([*words, "--top", "2"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1] == (
        "no candidate is left (cost loss: other; loss became NaN or infinite: again): pass --auxiliary none, or other "
        "--candidates"
    )
