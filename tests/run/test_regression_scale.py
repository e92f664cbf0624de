"""Regressions on standardised labels: the loss, the start of the heads, and where the setting does not act."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from transformers import AutoModelForSequenceClassification

from hf_alphavil import MultitaskConfig, MultitaskModel, MultitaskTrainer
from hf_alphavil.methods.logit_losses import SquaredError, recognize_loss
from hf_alphavil.modeling.output_layer import output_layer
from hf_alphavil.run.head_rates import UNIT_FREE, scale_head_rates
from hf_alphavil.setup.label_scale import LabelScale, scale_of
from support.bert_run import HEADS, adapted, bert_data, bert_model, bert_trainer
from support.priced_run import MEAN, ROWS, SPREAD, Network, priced_rows, priced_trainer
from support.toy_run import toy_args

MULTI_LABEL = "multi_label_classification"
RUN_OF_NO_CHANGE = {"learning_rate": 0.0, "max_steps": 1}


def labels_of(trainer, task="price"):
    return np.array([float(label) for label in trainer.train_datasets[task].labels()])


def test_the_scale_is_the_mean_and_standard_deviation_of_the_training_rows(tmp_path):
    """Without the rows that the target holds out."""
    trainer = priced_trainer(tmp_path, target_task="price", method="alphavil")
    labels = labels_of(trainer)
    assert len(labels) < ROWS["price"]
    (scale,) = trainer.runner.context.scales.values()
    assert (scale.mean, scale.spread) == pytest.approx((labels.mean(), labels.std()), rel=1e-12)


@pytest.mark.parametrize("labels", [[0.1] * 3, [], [5.0], [1.0, float("nan")], [1.0, float("inf")]])
def test_labels_without_a_finite_spread_have_no_scale(labels):
    assert scale_of(labels) is None


def test_equal_labels_are_trained_as_they_are_with_a_warning(tmp_path, caplog):
    trainer = priced_trainer(tmp_path, spread=0.0, **RUN_OF_NO_CHANGE)
    trainer.train()
    assert trainer.runner.context.scales == {}
    assert "Task 'price' is trained on its labels as they are: they have no finite spread" in caplog.text


def test_labels_of_any_type_have_the_same_scale():
    kinds = [
        [1, 2, 4],
        [1.0, 2.0, 4.0],
        torch.tensor([1.0, 2.0, 4.0]),
        [[1.0], [2.0], [4.0]],
        np.array([1.0, 2.0, 4.0]),
    ]
    assert len({scale_of(labels) for labels in kinds}) == 1


def test_training_and_alpha_see_the_loss_of_standardised_labels_and_evaluation_that_of_labels(tmp_path):
    trainer = priced_trainer(tmp_path, target_task="price", method="alphavil")
    dataset, context, objective = trainer.train_datasets["price"], trainer.runner.context, trainer.runner.objectives
    rows = [3, 5, 8]
    batch = context.collate(dataset.__getitems__(rows))
    spread = labels_of(trainer).std()
    raw = F.mse_loss(trainer.model(**batch)["logits"].squeeze(-1), batch["labels"]).item()
    assert raw / spread**2 > 1  # predictions are far from the labels
    assert context.training_loss(batch).item() == pytest.approx(raw / spread**2)
    assert objective.training("price").loss(rows) == pytest.approx(raw / spread**2)
    (found,) = predictions = objective.training("price").predictions(rows)
    assert found.loss == pytest.approx(raw / spread**2)
    assert isinstance(recognize_loss(predictions), SquaredError)
    evaluated = trainer.evaluate({"price": dataset})["eval_price_loss"]
    assert evaluated == pytest.approx(objective.training("price").loss(range(len(dataset))) * spread**2)


@pytest.mark.parametrize("method", ["multitask", "alphavil", "pcgrad"])
def test_steps_of_all_kinds_log_the_loss_of_standardised_labels(method, tmp_path):
    settings = {"method": method, "per_device_train_batch_size": ROWS["price"], "learning_rate": 0.0}
    trainer = priced_trainer(tmp_path, logging_strategy="epoch", **settings)
    trainer.train()
    rows = range(ROWS["price"])
    (logged,) = {entry["loss_price"] for entry in trainer.state.log_history if "loss_price" in entry}
    expected = trainer.evaluate({"price": trainer.train_datasets["price"]})["eval_price_loss"]
    assert logged == pytest.approx(expected / labels_of(trainer).std() ** 2)
    assert logged == pytest.approx(trainer.runner.objectives.training("price").loss(rows))


def test_the_gradient_that_a_step_computes_again_is_that_of_standardised_labels(tmp_path):
    trainer = priced_trainer(tmp_path, method="pcgrad", per_device_train_batch_size=48, **RUN_OF_NO_CHANGE)
    trainer.train()
    step = trainer.runner.multitask_step
    again = step.recomputed_gradient({"price": 1.0, "class": 0.0})
    _, expected = trainer.runner.objectives.training("price").loss_and_gradient(range(ROWS["price"]))
    torch.testing.assert_close(again[0], expected[0])


def test_a_new_head_starts_on_the_labels_scale(tmp_path):
    trainer = priced_trainer(tmp_path, **RUN_OF_NO_CHANGE)
    before, labels = Network().tasks["price"], labels_of(trainer)
    trainer.train()
    head = trainer.model.tasks["price"]
    assert torch.allclose(head.weight, before.weight * labels.std(), rtol=1e-12)
    assert torch.allclose(head.bias, before.bias * labels.std() + labels.mean(), rtol=1e-12)
    for name, tensor in Network().state_dict().items():
        assert name.startswith("tasks.price") or torch.equal(trainer.model.state_dict()[name], tensor)
    again = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    trainer.train()  # the head is no longer new
    assert all(torch.equal(tensor, again[name]) for name, tensor in trainer.model.state_dict().items())


def test_a_trained_head_is_not_scaled(tmp_path):
    """Also if it was trained by other code, on labels of another mean and spread."""
    model = Network()
    with torch.no_grad():
        model.tasks["price"].weight.mul_(4e4)
        model.tasks["price"].bias.fill_(3e5)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trainer = priced_trainer(tmp_path, model, **RUN_OF_NO_CHANGE)
    trainer.train()
    assert trainer.runner.context.scales
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("lora", [False, True], ids=["whole", "lora"])
def test_native_heads_start_on_the_labels_scale(lora, tmp_path, caplog):
    model = adapted() if lora else bert_model()
    settings = {"regression_scale": "standardize", "method": "multitask", **RUN_OF_NO_CHANGE}
    trainer = bert_trainer(tmp_path, model=model, **settings)
    labels = np.array(trainer.train_datasets["b"].labels())
    before = output_layer(model, "b").weight.clone()
    trainer.train()
    assert torch.allclose(output_layer(model, "b").weight, before * labels.std())
    assert "head of task" not in caplog.text
    assert list(trainer.runner.context.scales) == ["b"]


def test_a_head_without_a_bias_starts_at_its_own_scale_with_a_warning(tmp_path, caplog):
    model = Network()
    model.tasks["price"] = nn.Linear(8, 1, bias=False, dtype=torch.float64)
    before = model.tasks["price"].weight.clone()
    trainer = priced_trainer(tmp_path, model, **RUN_OF_NO_CHANGE)
    trainer.train()
    assert torch.equal(model.tasks["price"].weight, before)
    assert "The head of task 'price' starts at its own scale" in caplog.text
    assert list(trainer.runner.context.scales) == ["price"]


class OwnLoss(MultitaskTrainer):
    def compute_loss(self, model, inputs, **kwargs):
        return super().compute_loss(model, inputs, **kwargs)


@pytest.mark.parametrize(
    "change",
    [
        {"model": Network(F.l1_loss)},
        {"model": Network(F.huber_loss)},
        {"model": Network(lambda logits, labels: 2 * F.mse_loss(logits, labels))},
        {"compute_loss_func": lambda outputs, labels, num_items_in_batch=None: outputs["logits"].mean()},
        {"trainer_class": OwnLoss},
    ],
    ids=["l1", "huber", "twice", "function", "override"],
)
def test_a_loss_that_is_no_squared_error_is_left_as_it_is(change, tmp_path, caplog):
    caplog.set_level("INFO", "hf_alphavil")
    trainer = priced_trainer(tmp_path, **change, **RUN_OF_NO_CHANGE)
    assert trainer.runner.context.scales == {}
    assert "Task 'price' is trained on its labels as they are: its loss is no squared error" in caplog.text


def test_none_changes_nothing(tmp_path):
    trainer = priced_trainer(tmp_path, regression_scale="none", **RUN_OF_NO_CHANGE)
    trainer.train()
    assert trainer.runner.context.scales == {}
    assert all(
        torch.equal(tensor, trainer.model.state_dict()[name]) for name, tensor in Network().state_dict().items()
    )


def test_flags_are_no_regression(tmp_path):
    """Flags are several float labels of a row. Their loss is binary cross-entropy."""
    heads = HEADS | {"b": {"kind": "sequence_classification", "labels": ["u", "v"], "problem_type": MULTI_LABEL}}
    model = MultitaskModel(MultitaskConfig(encoder=bert_model().config.encoder, tasks=heads))
    train, meta = bert_data()
    train["b"] = [row | {"labels": [float(number % 2), 1.0]} for number, row in enumerate(train["b"])]
    args = toy_args(tmp_path, regression_scale="standardize", method="multitask")
    trainer = MultitaskTrainer(model=model, args=args, train_dataset=train, eval_dataset={"a": meta})
    assert trainer.runner.context.scales == {}


OPTIMIZERS = {
    "adamw_torch": torch.optim.AdamW,
    "adamw_torch_fused": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
}


def straight_loop(batches, labels, optimizer_class, **options):
    """Trains a head that predicts standardised labels on a run's batches; returns its predictions of labels."""
    model = Network()
    groups = [
        {"params": [p for name, p in model.named_parameters() if name.endswith("weight")], **options},
        {"params": [p for name, p in model.named_parameters() if name.endswith("bias")], **options, "weight_decay": 0},
    ]
    optimizer = optimizer_class(groups)
    for task, x, y in batches:
        optimizer.zero_grad()
        model(task, x, (y - labels.mean()) / labels.std() if task == "price" else y)["loss"].backward()
        optimizer.step()
    return lambda x: model("price", x)["logits"] * labels.std() + labels.mean()


@pytest.mark.parametrize(("mean", "spread"), [(2e5, 5e4), (0.04, 0.01)])
@pytest.mark.parametrize("optim", OPTIMIZERS)
def test_a_run_predicts_what_a_straight_loop_on_standardised_labels_does(optim, mean, spread, tmp_path):
    settings = {"optim": optim, "learning_rate": 0.02, "weight_decay": 0.1, "lr_scheduler_type": "constant"}
    trainer = priced_trainer(tmp_path, mean=mean, spread=spread, num_train_epochs=3, **settings)
    trainer.train()
    batches = list(trainer.model.seen)
    assert {task for task, _, _ in batches} == {"class", "price"}
    reference = straight_loop(batches, labels_of(trainer), OPTIMIZERS[optim], lr=0.02, weight_decay=0.1)
    x = torch.stack([row["x"] for row in priced_rows("price", 20, seed=1)])
    found, expected = trainer.model("price", x)["logits"], reference(x)
    torch.testing.assert_close(found / spread, expected / spread, rtol=0, atol=1e-8)


METHODS_COMPARED = {
    "alphavil": {"method": "alphavil"},
    "layers": {"method": "alphavil", "alpha_granularity": "layer", "alpha_optimizer": "adam"},
    "lbfgs": {"method": "alphavil", "alpha_optimizer": "lbfgs", "alpha_l2": 0.01},
    "secant": {"method": "alphavil", "alpha_optimizer": "secant"},
    "tawt": {"method": "tawt"},
    "pcgrad": {"method": "pcgrad"},
    "gradnorm": {"method": "gradnorm"},
    "auxilearn": {"method": "auxilearn"},
    "uw": {"method": "uw"},
}


def flat_numbers(value):
    """All numbers in a history's entry, in order."""
    if isinstance(value, dict):
        value = [value[key] for key in sorted(value)]
    if isinstance(value, (list, tuple)):
        return [number for part in value for number in flat_numbers(part)]
    return [float(value)] if isinstance(value, (int, float)) else []


@pytest.mark.parametrize("target", ["price", "class"])
@pytest.mark.parametrize("name", METHODS_COMPARED)
def test_a_method_sees_what_it_would_see_on_standardised_labels(name, target, tmp_path):
    """Its weights, losses and contributions are those of a run whose rows have such labels."""
    settings = {"target_task": target, "num_train_epochs": 2, **METHODS_COMPARED[name]}
    run = priced_trainer(tmp_path / "1", **settings)
    scale = run.runner.context.scales["price"]
    other = priced_trainer(
        tmp_path / "2", mean=(MEAN - scale.mean) / scale.spread, spread=SPREAD / scale.spread,
        regression_scale="none", **settings,
    )  # fmt: skip
    run.train()
    other.train()
    assert len(run.history) == 2
    for mine, theirs in zip(run.history, other.history, strict=True):
        assert mine.keys() == theirs.keys()
        assert flat_numbers(mine) == pytest.approx(flat_numbers(theirs), rel=1e-6, abs=1e-7)
    x = torch.stack([row["x"] for row in priced_rows("price", 20, seed=1)])
    expected = scale.mean + scale.spread * other.model("price", x)["logits"]
    torch.testing.assert_close(run.model("price", x)["logits"] / SPREAD, expected / SPREAD, rtol=0, atol=1e-6)


STEPS = [(optimizer_class, {}) for optimizer_class in UNIT_FREE]
STEPS += [
    (optimizer_class, {"decoupled_weight_decay": True}) for optimizer_class in (torch.optim.Adam, torch.optim.NAdam)
]


@pytest.mark.parametrize(("optimizer_class", "options"), STEPS)
def test_steps_on_a_head_are_those_on_the_head_of_standardised_labels(optimizer_class, options):
    """With an ε and a weight decay that matter."""
    options = {"lr": 0.01, "weight_decay": 0.1, "eps": 0.5} | options
    torch.manual_seed(0)
    features, y = torch.randn(30, 4, dtype=torch.float64), torch.randn(30, dtype=torch.float64)
    mean, spread = 7.0, 30.0
    ours, reference = Network(), Network()
    with torch.no_grad():
        ours.tasks["price"].weight.mul_(spread)
        ours.tasks["price"].bias.mul_(spread).add_(mean)
    for model in (ours, reference):
        model.tasks["price"].bias.requires_grad_(False)  # Trainer gives it no weight decay
    optimizer = optimizer_class([p for p in ours.parameters() if p.requires_grad], **options)
    scale_head_rates(optimizer, ours, {"price": LabelScale(mean, spread)})
    other = optimizer_class([p for p in reference.parameters() if p.requires_grad], **options)
    for _ in range(5):
        for model, of_model, labels, unit in (
            (ours, optimizer, mean + spread * y, spread**2),
            (reference, other, y, 1.0),
        ):
            of_model.zero_grad()
            (model("price", features, labels)["loss"] / unit).backward()
            of_model.step()
    expected = mean + spread * reference("price", features)["logits"]
    torch.testing.assert_close(ours("price", features)["logits"], expected, rtol=1e-9, atol=1e-9)


def test_prices_are_learnt_only_on_standardised_labels(tmp_path):
    found = {}
    for scale in ("standardize", "none"):
        settings = {"num_train_epochs": 10, "learning_rate": 5e-3, "method": "alphavil", "target_task": "price"}
        trainer = priced_trainer(tmp_path / scale, regression_scale=scale, **settings)
        trainer.train()
        result = trainer.predict(priced_rows("price", 40, seed=1))
        predictions, labels = result.predictions[:, 0], result.label_ids
        away = abs(predictions.mean() - labels.mean()) / labels.std()
        found[scale] = (away, np.corrcoef(predictions, labels)[0, 1])
    away, correlation = found["standardize"]
    assert away < 0.2
    assert correlation > 0.8
    assert found["none"][0] > 3  # the mean is still far away


def test_a_users_optimizer_is_left_as_it_is_with_a_warning(tmp_path, caplog):
    model = Network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = priced_trainer(tmp_path, model, optimizers=(optimizer, None), max_steps=1)
    trainer.train()
    assert len(optimizer.param_groups) == 1
    assert "The steps of the optimizer on the heads of 'price' are not on the scale of their labels" in caplog.text


def test_a_second_training_keeps_the_groups_of_heads(tmp_path, caplog):
    trainer = priced_trainer(tmp_path, max_steps=1)
    trainer.train()
    groups = [len(group["params"]) for group in trainer.optimizer.param_groups]
    trainer.train()
    assert [len(group["params"]) for group in trainer.optimizer.param_groups] == groups == [2, 2, 1, 1]
    assert "The steps of the optimizer" not in caplog.text


def test_a_resume_is_exact(tmp_path):
    """The head is not scaled again, and the groups of parameters find their states."""
    settings = {"method": "alphavil", "num_train_epochs": 2, "weight_decay": 0.1, "save_strategy": "steps"}
    whole = priced_trainer(tmp_path / "whole", save_steps=1, **settings)
    whole.train()
    for step in (1, whole.state.max_steps // 2, whole.state.max_steps - 1):
        resumed = priced_trainer(tmp_path / "resumed", save_steps=1000, **settings)
        resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / f"checkpoint-{step}"))
        assert resumed.history == whole.history
        for name, tensor in whole.model.state_dict().items():
            assert torch.equal(tensor, resumed.model.state_dict()[name]), (step, name)


def test_a_resume_on_another_scale_is_refused(tmp_path):
    priced_trainer(tmp_path, save_strategy="steps", save_steps=1, max_steps=2).train()
    other = priced_trainer(tmp_path, regression_scale="none", max_steps=2)
    with pytest.raises(ValueError, match="regression_scale=standardize, this run has none"):
        other.train(resume_from_checkpoint=True)


def test_an_export_predicts_labels_as_they_are(tmp_path):
    train, meta = bert_data()
    train["b"] = [row | {"labels": 2e5 + 5e4 * row["labels"]} for row in train["b"]]
    args = toy_args(tmp_path, regression_scale="standardize", method="multitask", num_train_epochs=1)
    trainer = MultitaskTrainer(model=bert_model(), args=args, train_dataset=train, eval_dataset={"a": meta})
    trainer.train()
    trainer.export_task("b", tmp_path / "b")
    exported = AutoModelForSequenceClassification.from_pretrained(tmp_path / "b")
    inputs = {name: torch.tensor([row[name] for row in train["b"]]) for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        found, expected = exported(**inputs).logits, trainer.model.eval()("b", **inputs).logits
    assert torch.equal(found, expected)
    assert 2e5 < found.mean() < 4e5
