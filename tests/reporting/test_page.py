"""The page of a run: its content, in order, from any history; and what of a user's data it shows."""

import json
import math
import re
from dataclasses import replace

import pytest
from datasets import Dataset

from hf_alphavil import MultitaskTrainer, Task
from hf_alphavil.cli.main import main
from hf_alphavil.reporting import CardScore, CardTask
from hf_alphavil.reporting.facts import RunFacts, read_facts
from hf_alphavil.reporting.page import write_page
from hf_alphavil.reporting.run_files import read_run_files
from hf_alphavil.reporting.verdicts import verdicts, verdicts_in_short
from support.example_run import HISTORY, WITHOUT_ALPHA
from support.hub_server import HubServer, hub_at
from support.kinds_run import every_kind, kinds_trainer, word_tokenizer
from support.page_reader import Page
from support.toy_run import SIZES, TARGET, toy_args, toy_trainer

CHARTS = ["alpha", "weights", "contributions", "held_out", "losses", "cosines"]
AROUND = (["verdicts", "score", "epoch"], ["settings", "cost", "rows"])
SECRET = "my private sentence <script>alert(1)</script> "


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    """A finished run of the toy with checkpoints, whose target has rows of text."""
    trainer = toy_trainer(
        tmp_path_factory.mktemp("page") / "my-run",
        logging_strategy="epoch", save_strategy="epoch", eval_strategy="epoch", final_target_epochs=1,
        load_best_model_at_end=True, metric_for_best_model="eval_a_accuracy",
    )  # fmt: skip
    trainer.train()
    rows = Dataset.from_dict({"text": [SECRET * 20] * 5, "label": [1, 0, 0, 0, 0]})
    task = Task(TARGET, "sequence_classification", ("text",), labels=("negative", "positive"), train=rows,
                license="cc0-1.0", dataset="org/rows", dataset_config="en")  # fmt: skip
    trainer.task_setup = replace(trainer.task_setup, tasks={TARGET: task})
    return trainer


@pytest.fixture
def folder(trainer):
    trainer.write_report()
    return trainer.run_dir


def test_the_page_has_everything_in_order_and_needs_no_network(trainer, folder):
    page = Page(folder / "report.html")
    assert list(page.sections) == [*AROUND[0], *CHARTS, *AROUND[1]]
    assert page.charts == [f"chart-{name}" for name in CHARTS]
    assert set(page.figures) == set(CHARTS)
    assert page.addresses == []
    assert not page.tags & {"link", "img", "iframe", "base"}
    scores = {
        entry["epoch"]: entry["eval_a_accuracy"] for entry in trainer.state.log_history if "eval_a_loss" in entry
    }
    (kept,) = [entry["epoch"] for entry in trainer.history if entry["kept"]]
    assert f"epoch {kept} of 3" in page.sections["epoch"]
    assert f"{scores[kept]:.4f}" in page.sections["score"]
    assert "optimistic" in page.sections["score"]
    for task in SIZES:
        assert verdicts(trainer.history)[task].interval in page.sections["verdicts"]
        assert verdicts_in_short(trainer.history).replace("`", "") in page.sections["verdicts"]
        assert re.search(rf"{task}( \(target\))?sequence classification{SIZES[task]}", page.sections["rows"])
    assert re.search(r"learning_rate\s*0\.1", page.sections["settings"])
    task = read_facts(folder).tasks[0]
    assert (task.name, task.dataset, task.config, task.license) == (TARGET, "org/rows", "en", "cc0-1.0")
    steps = trainer.state.global_step
    rows = steps * trainer.global_batch_size
    assert rows != trainer.args.num_train_epochs * sum(SIZES.values())
    assert re.search(rf"optimizer steps\s*{steps}\D", page.sections["cost"])
    assert re.search(
        rf"rows trained on since the last start, with repetitions\s*about {rows}\D", page.sections["cost"]
    )


def test_the_charts_show_the_history_with_a_colour_for_each_task(trainer, folder):
    figures = Page(folder / "report.html").figures
    history = trainer.history

    def lines(name):
        return {trace["name"]: trace for trace in figures[name]["data"]}

    colours = {task: lines("weights")[task]["line"]["color"] for task in SIZES}
    assert len(set(colours.values())) == len(SIZES)
    for name in ("alpha", "weights", "contributions", "losses"):
        assert next(iter(lines(name))) == TARGET, name
        assert {task: trace["line"]["color"] for task, trace in lines(name).items()} == colours, name
    for task in SIZES:
        assert lines("alpha")[task]["y"] == [entry["alpha"][task] for entry in history[:2]]
        assert lines("weights")[task]["y"] == [1.0, *(entry["task_weights"][task] for entry in history)]
        assert lines("contributions")[task]["y"] == [entry["contribution"][task]["mean"] for entry in history[:2]]
        assert all(width > 0 for width in lines("contributions")[task]["error_y"]["array"])
        logged = [entry[f"loss_{task}"] for entry in trainer.state.log_history if f"loss_{task}" in entry]
        assert lines("losses")[task]["y"] == logged
    (held_out,) = figures["held_out"]["data"]
    assert [value for value in held_out["y"] if value is not None] == [v for e in history for v in e["meta_loss"]]
    (heat_map,) = figures["cosines"]["data"]
    last = history[1]["delta_cosine"]
    assert heat_map["z"] == [[1, last["a"]["b"], last["a"]["c"]], [last["a"]["b"], 1, last["b"]["c"]],
                             [last["a"]["c"], last["b"]["c"], 1]]  # fmt: skip


def test_plotly_knows_every_property_of_the_figures(folder):
    from plotly.graph_objects import Figure

    text = json.dumps(Page(folder / "report.html").figures)
    for figure in json.loads(re.sub(r"var\(--\w+\)", "#123456", text)).values():
        Figure(figure)


def test_rows_are_shown_here_and_not_on_the_hub(trainer, folder, monkeypatch, tmp_path):
    page = Page(folder / "report.html")
    shown = page.sections["rows"]
    assert shown.count("positive") == 1
    assert shown.count("negative") == 2
    assert "my private sentence <script>" in shown
    assert len(SECRET) * 3 < shown.count("private") * len(SECRET) < 3 * 400
    assert "private" not in (folder / "alphavil_run.json").read_text()

    assert main(["report", str(folder), "--no-examples"]) == 0
    assert "private" not in Page(folder / "report.html").sections["rows"]
    trainer.write_report()

    hub = HubServer()
    with hub_at(hub.endpoint, tmp_path / "cache"):
        trainer.push_to_hub()
    hub.close()
    files = hub.files(trainer.hub_model_id)
    assert b"which tasks helped" in files["report.html"].lower()
    assert [name for name, content in files.items() if b"private sentence" in content] == []

    monkeypatch.setattr(trainer.args, "push_to_hub", True)
    trainer.write_report()
    assert "private" not in Page(folder / "report.html").sections["rows"]
    assert not (folder / "_report_examples.json").exists()


def test_the_command_writes_the_same_page_from_the_files(folder, capsys):
    page = (folder / "report.html").read_bytes()
    (folder / "report.html").unlink()
    assert main(["report", str(folder)]) == 0
    assert capsys.readouterr().out == f"wrote {folder / 'report.html'}\n"
    assert (folder / "report.html").read_bytes() == page


def test_the_command_writes_the_page_of_a_checkpoint(trainer, folder):
    checkpoint = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))[1]
    assert main(["report", str(checkpoint)]) == 0
    page = Page(checkpoint / "report.html")
    assert list(page.sections) == [*AROUND[0], *CHARTS, *AROUND[1]]
    assert "last of 2 finished epochs" in page.sections["epoch"]
    evaluations = [entry["eval_a_accuracy"] for entry in trainer.state.log_history if "eval_a_accuracy" in entry]
    assert f"{evaluations[1]:.4f}" in page.sections["score"]
    assert re.search(rf"a \(target\)sequence classification{SIZES['a']}", page.sections["rows"])


def test_the_page_of_a_checkpoint_shows_the_scores_of_its_run(tmp_path):
    """Those of a set whose name starts with the target's are not the target's, and rates are no scores."""
    tasks = every_kind()
    rows = tasks["names"].validation.select(range(4))
    hard = replace(tasks["names"], name="names_hard", head_task="names", train=None, validation=rows, test=None)
    trainer = MultitaskTrainer(
        model=kinds_trainer(tmp_path).model,
        args=toy_args(
            tmp_path / "run", target_task="names", method="multitask", num_train_epochs=2, save_strategy="epoch",
            eval_strategy="epoch",
        ),
        tasks=[tasks["names"], tasks["pair"], hard],
        processing_class=word_tokenizer(),
    )  # fmt: skip
    trainer.train()
    trainer.write_report()
    first, last = sorted(trainer.run_dir.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    of_run, of_last = (read_run_files(folder).facts for folder in (trainer.run_dir, last))
    logged = {key: value for entry in trainer.state.log_history for key, value in entry.items()}
    wanted = {task: logged[f"eval_{task}_span_f1"] for task in ("names", "names_hard")}
    for facts in (of_run, of_last):
        assert {score.task: score.value for score in facts.scores} == wanted
        assert {score.metric for score in facts.scores} == {"span_f1"}
        assert {task.name: (task.kind, task.rows) for task in facts.tasks} == {
            "names": ("token_classification", 24), "pair": ("sequence_classification", 24),
            "names_hard": ("token_classification", 0),
        }  # fmt: skip
    for folder, words in ((first, "One epoch was finished."), (last, "last of 2 finished epochs")):
        assert main(["report", str(folder)]) == 0
        page = Page(folder / "report.html")
        assert words in page.sections["epoch"]
        assert not re.search(r"_runtime|per_second|hard_", page.sections["score"])


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (None, "gone: no such folder; pass a run's output folder"),
        ({}, "has no alphavil_history.json: pass the output folder of a run that has ended"),
        ({"alphavil_history.json": "[]"}, "has no alphavil_run.json: pass"),
        ({"alphavil/alphavil_run.json": "{}"}, "gone/alphavil meant?"),
        ({"alphavil_history.json": "[", "alphavil_run.json": "{}"}, "alphavil_run.json: not a run's"),
    ],
)
def test_a_folder_without_a_run_is_refused_in_one_line(files, message, tmp_path, capsys):
    folder = tmp_path / "gone"
    for name, content in (files or {}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    if files == {}:
        folder.mkdir()
    with pytest.raises(SystemExit) as caught:
        main(["report", str(folder)])
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_without_plotly_one_line_says_how_to_get_the_page(trainer, folder, monkeypatch, caplog, capsys):
    (folder / "report.html").unlink()
    monkeypatch.setattr("hf_alphavil.reporting.page.find_spec", lambda name: None if name == "plotly" else True)
    assert trainer.write_report() is None
    (record,) = [record for record in caplog.records if "Plotly" in record.message]
    assert record.message == (
        f"report.html needs Plotly: pip install 'hf_alphavil[report]', then `alphavil report {folder}` writes it"
    )
    assert read_facts(folder).target == TARGET
    with pytest.raises(SystemExit):
        main(["report", str(folder)])
    assert capsys.readouterr().err == f"error: {record.message}\n"


def facts_of(names, **changes):
    settings = {
        "model_name": "my <b>model</b>",
        "target": names[0],
        "method": "alphavil",
        "tasks": [CardTask(name, "sequence_classification", 100) for name in names],
    }
    return RunFacts(**settings | changes)


def entry_of(names, epoch, value):
    moment = {"mean": value, "standard_error": None, "rows": 1}
    return {
        "epoch": epoch,
        "alpha": dict.fromkeys(names, value),
        "task_weights": dict.fromkeys(names, value),
        "task_weights_used": dict.fromkeys(names, 1.0),
        "meta_loss": [value, 0.5],
        "held_out_loss": 0.5,
        "contribution": dict.fromkeys(names, moment),
        "total_contribution": dict.fromkeys(names, moment),
        "delta_cosine": {one: dict.fromkeys(names[place + 1 :], value) for place, one in enumerate(names[:-1])},
    }


def test_many_tasks_with_hostile_names_and_lost_numbers(tmp_path):
    names = ["</script><script>alert(1)</script>", *(f"{'long_' * 12}<i>{number}</i>" for number in range(19))]
    history = [entry_of(names, 1, 0.25), entry_of(names, 2, math.nan), entry_of(names, 3, 0.75)]
    page = Page(write_page(tmp_path, facts_of(names), history, [{f"loss_{names[0]}": math.inf, "epoch": 1.0}]))
    assert list(page.sections) == [*AROUND[0], *[name for name in CHARTS if name != "losses"], *AROUND[1]]
    assert "i" not in page.tags
    for name in names:
        assert name in page.sections["verdicts"]
        assert name in page.sections["rows"]
    traces = page.figures["alpha"]["data"]
    assert len({(trace["line"]["color"], trace["marker"]["symbol"]) for trace in traces}) == len(names)
    assert len({trace["name"] for trace in traces}) == len(names)
    assert all(trace["y"] == [0.25, None, 0.75] for trace in traces)
    assert all("<" not in trace["name"] for trace in traces)


@pytest.mark.parametrize(
    ("history", "charts"),
    [
        ([], []),
        (WITHOUT_ALPHA, []),
        (HISTORY, ["alpha", "weights", "held_out"]),
        (HISTORY[:1], ["alpha", "weights", "held_out"]),
        ([{**HISTORY[0], "kept": False}, {**HISTORY[1], "kept": False}], ["alpha", "weights", "held_out"]),
    ],
    ids=["nothing", "no α", "two epochs", "one epoch", "kept none"],
)
def test_charts_without_data_are_left_out(history, charts, tmp_path):
    page = Page(write_page(tmp_path, facts_of(["rte", "mrpc"]), history, []))
    assert list(page.sections) == [*AROUND[0], *charts, *AROUND[1]]
    assert "has not measured" in page.sections["verdicts"]
    assert "not scored" in page.sections["score"]


def test_epochs_that_trained_on_the_held_out_rows_are_left_out(tmp_path):
    names = ["rte", "mrpc"]
    history = [entry_of(names, 1, 0.75) | {"trains_held_out": False}]
    history += [entry_of(names, epoch, 0.125) | {"trains_held_out": True} for epoch in (2, 3)]

    def drawn(alpha_data):
        page = Page(write_page(tmp_path, facts_of(names, alpha_data=alpha_data), history, []))
        left_out = "Epochs from 2 on trained on these rows too" in page.sections["held_out"]
        return [value for value in page.figures["held_out"]["data"][0]["y"] if value is not None], left_out

    assert drawn("train_holdout") == ([0.75, 0.5], True)
    assert drawn("validation") == ([0.75, 0.5, 0.125, 0.5, 0.125, 0.5], False)


def test_epochs_that_chose_a_task_are_counted(tmp_path):
    names = ["rte", "mrpc", "cb"]
    chosen = [entry_of(names, epoch, 0.5) | {"chosen_auxiliaries": ["cb"]} for epoch in (1, 2)]
    facts = facts_of(names, alpha_data="train_holdout", meta_rows=40)
    rows = Page(write_page(tmp_path, facts, chosen, [])).sections["rows"]
    assert "rte (target)sequence classification100 (+ 40 held out)" in rows
    assert "epochs that chose it" in rows
    assert re.search(r"cbsequence classification10020\.500", rows)
    assert re.search(r"mrpcsequence classification10000\.500", rows)


def test_only_a_share_of_rows_has_an_interval(tmp_path):
    right, rows, z = 201, 277, 1.959963984540054
    share = right / rows
    centre = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows)) / (1 + z * z / rows)
    score = CardScore("rte", "validation", "accuracy", share, rows, majority=0.7)
    assert score.interval == pytest.approx((centre - half, centre + half))
    words = f"{centre - half:.3f} to {centre + half:.3f} ({rows} rows)"
    page = Page(write_page(tmp_path, facts_of(["rte"], scores=[score]), HISTORY, []))
    assert words in page.sections["score"]
    assert "0.7000" in page.sections["score"]
    assert page.sections["verdicts"].startswith("\nWhich tasks helped\nNot clearly better than the majority class:")
    page = Page(write_page(tmp_path, facts_of(["rte"], scores=[replace(score, rows=None)]), HISTORY, []))
    assert "no interval" in page.sections["score"]


@pytest.mark.parametrize(
    ("base_model", "shown"),
    [
        ("/home/me/encoders/tiny", "tiny, a local encoder"),
        ("/home/me/env/site-packages/mini_lm/model", "mini_lm, a local encoder"),
        ("/home/me/model", "A local encoder"),
        ("/home/me/out/checkpoint-12/", "A local encoder"),
        ("/home/me/.cache/hub/models--org--tiny/snapshots/0a1b", "org/tiny"),
        ("org/tiny", "org/tiny"),
    ],
)
def test_a_pushed_page_names_no_local_path(base_model, shown, tmp_path):
    facts = RunFacts("model", "a", "alphavil", [CardTask("a", "sequence_classification", 8)], base_model=base_model)
    text = write_page(tmp_path, facts, [], []).read_text(encoding="utf-8")
    assert f'<p class="muted">{shown}, trained on' in text
    assert "/home/me" not in text
