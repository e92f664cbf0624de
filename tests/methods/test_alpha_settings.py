"""Objectives and optimizers of α: combinations refused before training, and the text of unlabelled rows."""

from dataclasses import replace

import pytest
import torch
from transformers import AutoTokenizer, BertConfig

from hf_alphavil import MultitaskTrainer
from hf_alphavil.demo.suite import DEMO_TARGET, demo_encoder, demo_tasks
from hf_alphavil.modeling import MultitaskConfig, MultitaskModel
from reference.toy import ToyModel
from support.sharded_run import HEADS, bert_trainer, rows
from support.toy_run import LABELS, TARGET, RecordingTrainer, toy_args, toy_data, toy_model, toy_trainer


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"alpha_optimizer": "cma"},
            "alpha_optimizer='cma': pass one of auto, sgd, adam, lbfgs",
        ),
        ({"alpha_objective": "f1"}, "alpha_objective='f1': pass one of loss, metric, entropy"),
        ({"alpha_granularity": "head"}, "alpha_granularity='head': pass one of task, layer"),
        ({"alpha_objective": "metric"}, "alpha_optimizer='sgd': pass 'gradient_free' with alpha_objective='metric'"),
        ({"alpha_objective": "metric", "alpha_optimizer": "lbfgs"}, "alpha_optimizer='lbfgs': pass 'gradient_free'"),
        ({"alpha_l1": -1.0}, "alpha_l1=-1.0: pass 0 or more"),
        ({"alpha_l2": -1.0}, "alpha_l2=-1.0: pass 0 or more"),
        ({"alpha_tolerance": 1.0}, r"alpha_tolerance=1.0: pass a share in \[0, 1\)"),
        ({"alpha_l1": 1.0, "alpha_optimizer": "lbfgs"}, "alpha_l1=1.0: pass alpha_l2 instead"),
        (
            {"alpha_l1": 1.0, "alpha_optimizer": "secant"},
            "alpha_l2 instead: alpha_optimizer='secant'",
        ),
        ({"alpha_objective": "metric", "alpha_optimizer": "secant"}, "alpha_optimizer='secant': pass 'gradient_free'"),
        (
            {"alpha_objective": "entropy", "alpha_optimizer": "secant"},
            "alpha_optimizer='secant': pass 'sgd', 'adam' or 'lbfgs' with alpha_objective='entropy'",
        ),
        ({"alpha_data": "test"}, "alpha_data='test': pass it together with alpha_objective='entropy'"),
        ({"weight_average": 1.0}, "weight_average=1.0: pass a share in"),
        ({"weight_average": -0.1}, "weight_average=-0.1: pass a share in"),
        ({"prune_below": 1.0}, "prune_below=1.0: pass less than 1, where weights start"),
        ({"prune_below": 0.05}, "prune_below=0.05: pass at least min_task_weight=0.1, below which no weight falls"),
        ({"prune_below": 0.1, "weight_average": 0.5}, "prune_below=0.1: pass more than min_task_weight=0.1: a moving"),
        ({"prune_patience": 0}, "prune_patience=0: pass a positive number of epochs"),
    ],
)
def test_settings_that_do_not_fit_together(settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        toy_args(tmp_path, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha_min": 1.1}, "alpha_min=1.1 and alpha_max=None leave out the start of α, 1: pass bounds around it"),
        ({"alpha_min": 0.5, "alpha_init": "mean"}, "alpha_min=0.5 and alpha_max=None leave out .* 0.333333"),
        ({"alpha_max": 0.9}, "alpha_min=None and alpha_max=0.9 leave out"),
        ({"alpha_min": float("nan")}, "alpha_min=nan"),
    ],
)
def test_bounds_that_leave_out_the_start(settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        _ = toy_trainer(tmp_path, **settings).runner


class NeverTrained(ToyModel):
    def forward(self, task, **kwargs):
        raise AssertionError("training has begun")


def toy_with(folder, model, n_labels=None, metrics=None, **settings):
    train, meta = toy_data()
    for dataset in [train[TARGET], meta] if n_labels else []:
        dataset.labels = dataset.labels.double()
    return MultitaskTrainer(
        model=model, args=toy_args(folder, **settings), train_dataset=train, eval_dataset={TARGET: meta},
        compute_metrics=metrics,
    )  # fmt: skip


SEARCH = {"alpha_optimizer": "gradient_free", "alpha_objective": "metric"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "no metric of the target 'a' is known: pass `tasks`, or `compute_metrics`"),
        ({"metric_for_best_model": "accuracy"}, "an evaluation of task 'a' gives no 'accuracy': pass one of loss"),
    ],
    ids=["no name", "no function"],
)
def test_a_metric_that_is_not_known(settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        toy_with(tmp_path, NeverTrained(LABELS), **SEARCH, **settings).train()


@pytest.mark.parametrize(("optimizer", "most", "layers"), [("gradient_free", 20, 7), ("secant", 32, 10)])
def test_too_many_unknowns_for_an_optimizer(optimizer, most, layers, tmp_path):
    class Deep(NeverTrained):
        def __init__(self):
            super().__init__(LABELS)
            self.encoder = torch.nn.Sequential(*(torch.nn.Linear(6, 6) for _ in range(layers)))
            self.double()

    settings = {"alpha_optimizer": optimizer, "alpha_granularity": "layer"}
    groups = layers + 1
    message = (
        f"{optimizer!r} fits at most {most} values of α, but 3 tasks × {groups} groups .* have {3 * groups}: pass"
    )
    with pytest.raises(ValueError, match=message):
        toy_with(tmp_path, Deep(), **settings).train()


def test_layers_of_an_encoder_that_is_not_there(tmp_path):
    class Flat(NeverTrained):
        def __init__(self):
            super().__init__(LABELS)
            self.body = self.encoder
            del self.encoder

    with pytest.raises(ValueError, match=r"alpha_granularity='layer' needs a model whose shared part .*'task'"):
        toy_with(tmp_path, Flat(), alpha_granularity="layer").train()


def test_the_entropy_of_a_regression(tmp_path):
    message = "'a' predicts scores, several labels at once, or tokens"
    with pytest.raises(ValueError, match=message):
        toy_with(
            tmp_path, NeverTrained(LABELS | {"a": 1}), n_labels=1, alpha_objective="entropy", regression_scale="none"
        ).train()


@pytest.mark.parametrize(
    "head",
    [
        {"kind": "regression", "labels": None},
        {
            "kind": "sequence_classification",
            "labels": ["x", "y"],
            "problem_type": "multi_label_classification",
        },
    ],
    ids=["regression", "multi label"],
)
def test_the_entropy_of_a_head_without_classes(head, tmp_path):
    encoder = BertConfig(vocab_size=60, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                         intermediate_size=16, max_position_embeddings=12)  # fmt: skip
    model = MultitaskModel(MultitaskConfig(encoder=encoder, tasks={"a": head}))
    train = rows("rte", 8, seed=1)
    for row in train:
        row["labels"] = [1.0, 0.0] if head["labels"] else 0.5
    trainer = MultitaskTrainer(
        model=model, args=toy_args(tmp_path, alpha_objective="entropy", alpha_data="train"), train_dataset={"a": train}
    )
    with pytest.raises(ValueError, match="'a' predicts scores, several labels at once, or tokens"):
        trainer.train()


def test_the_entropy_of_a_single_output(tmp_path):
    """Labels are integers and there is one logit, so only the first forward pass can show the fault."""
    trainer = toy_with(tmp_path, ToyModel(LABELS | {"a": 1}), alpha_objective="entropy")
    trainer.compute_loss = lambda model, inputs, **_: model(inputs["task"], inputs["x"])["logits"].square().mean()
    with pytest.raises(ValueError, match=r"needs a head of several classes, .* the shape \(2, 1\)"):
        trainer.train()


def test_labels_do_not_matter_to_the_entropy(tmp_path):
    """Scrambled labels of the meta set, and none at all: the same α."""
    alphas = []
    for change in ("none", "scrambled", "absent"):
        train, meta = toy_data()
        if change == "scrambled":
            meta.labels = torch.full_like(meta.labels, -1)  # no such class
        elif change == "absent":
            meta = [{"x": x} for x in meta.x]
        trainer = RecordingTrainer(
            model=toy_model(), args=toy_args(tmp_path, alpha_objective="entropy"), train_dataset=train,
            eval_dataset={TARGET: meta},
        )  # fmt: skip
        trainer.train()
        assert all("meta_loss" not in entry and len(entry["meta_entropy"]) == 6 for entry in trainer.history)
        alphas.append([entry["alpha"] for entry in trainer.history])
    assert alphas[0] == alphas[1] == alphas[2]
    assert alphas[0][0][TARGET] != 1.0


def test_the_entropy_of_choices(tmp_path):
    trainer = bert_trainer(tmp_path, target_task="copa", alpha_objective="entropy", num_train_epochs=1,
                           alpha_data="train", alpha_batch_size=64)  # fmt: skip
    trainer.train()
    model, trained = trainer.model.eval(), trainer.epochs[0]
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(trained["theta"][name])
        batch = rows("copa", 9, seed=1)
        ids = torch.tensor([row["input_ids"] for row in batch])
        p = model(task="copa", input_ids=ids, attention_mask=torch.ones_like(ids)).logits.softmax(-1)
    assert p.shape == (9, 2)
    expected = -(p * p.log()).sum(-1).mean().item()
    assert trainer.history[0]["acceptance_entropy"][1] == pytest.approx(expected, abs=1e-6)
    assert HEADS["copa"]["kind"] == "multiple_choice"


# ---- The text of the test rows


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    demo_encoder(folder, 0)
    return folder, demo_tasks(0)


def demo_trainer(folder, demo, tasks, **settings):
    encoder, _ = demo
    torch.manual_seed(0)  # for the heads
    defaults = {"target_task": DEMO_TARGET, "alpha_objective": "entropy", "alpha_data": "test", "num_train_epochs": 1}
    return MultitaskTrainer(
        model=MultitaskModel.from_encoder(encoder, tasks=tasks),
        args=toy_args(folder, **defaults | {"max_phase_steps": 1} | settings),
        tasks=tasks,
        processing_class=AutoTokenizer.from_pretrained(encoder),
    )


def test_alpha_on_the_text_of_unlabelled_test_rows(demo, tmp_path):
    _, tasks = demo
    target = tasks[DEMO_TARGET]
    test = target.test.select(range(40))
    fits = []
    for rows_ in (test, test.remove_columns(target.label_column)):
        trainer = demo_trainer(tmp_path, demo, tasks | {DEMO_TARGET: replace(target, test=rows_)})
        assert len(trainer.meta_set) == 40
        assert trainer.task_setup.num_rows(DEMO_TARGET) == len(target.train)  # none is held out
        trainer.train()
        fits.append(trainer.history[0]["alpha"])
    assert fits[0] == fits[1]
    trainer.create_model_card()
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert f"α was fitted on the inputs of 40 rows of `{DEMO_TARGET}`'s test split, without their labels" in card
    assert "| `alpha_objective` | entropy |" in card


def test_no_test_rows_for_alpha(demo, tmp_path):
    _, tasks = demo
    tasks = tasks | {DEMO_TARGET: replace(tasks[DEMO_TARGET], test=None)}
    with pytest.raises(ValueError, match=r"alpha_data='test', but there are no test rows of the target"):
        demo_trainer(tmp_path, demo, tasks)


def test_the_metric_of_a_task(demo, tmp_path):
    """`tasks` bring their main metric."""
    settings = {"alpha_data": "train_holdout", "alpha_learning_rate": 0.5, "alpha_steps": 2}
    trainer = demo_trainer(tmp_path, demo, demo[1], **SEARCH | settings)
    trainer.train()
    (entry,) = trainer.history
    assert "meta_loss" not in entry
    assert len(entry["meta_metric"]) == 3
    assert 0 <= entry["acceptance_metric"][0] <= entry["acceptance_metric"][1] <= 1
