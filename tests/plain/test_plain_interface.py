"""In plain mode the constructor, the callbacks and the attributes are those of `transformers.Trainer`."""

import inspect
from pathlib import Path

import pytest
import torch
from transformers import Trainer, TrainingArguments

from hf_alphavil import MultitaskTrainer, MultitaskTrainingArguments
from support.plain_harness import Side, differences
from support.plain_toys import bert, pad, sentences, tokenizer

STOCK = inspect.signature(Trainer.__init__).parameters
OVERRIDES = [
    name
    for name, value in vars(MultitaskTrainer).items()
    if inspect.isfunction(value) and inspect.isfunction(getattr(Trainer, name, None)) and name != "__init__"
]


@pytest.fixture
def side(tmp_path: Path) -> Side:
    return Side(MultitaskTrainer, TrainingArguments, tmp_path)


def test_constructor_takes_stock_parameters_first_and_in_order() -> None:
    ours = list(inspect.signature(MultitaskTrainer.__init__).parameters.values())
    assert [parameter.name for parameter in ours][: len(STOCK)] == list(STOCK)
    for parameter, stock in zip(ours, STOCK.values(), strict=False):
        assert (parameter.kind, parameter.default) == (stock.kind, stock.default)
    assert all(parameter.default is None for parameter in ours[len(STOCK) :])


def test_positional_arguments_arrive_where_stock_puts_them(tmp_path: Path) -> None:
    args = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none")
    train, evaluation, words, model = sentences(4), {"a": sentences(2), "b": sentences(3)}, tokenizer(), bert()
    loss, metrics, logits = (lambda *_: None), (lambda _: {}), (lambda x, _: x)
    optimizers = (torch.optim.SGD(model.parameters(), lr=0.1), None)
    given = (model, args, pad, train, evaluation, words, None, loss, metrics, None, optimizers, None, logits)
    trainer = MultitaskTrainer(*given)
    assert not trainer.is_multitask
    kept = {
        "model": model, "args": args, "data_collator": pad, "train_dataset": train, "eval_dataset": evaluation,
        "processing_class": words, "compute_loss_func": loss, "compute_metrics": metrics,
        "optimizer": optimizers[0], "preprocess_logits_for_metrics": logits,
    }  # fmt: skip
    assert [name for name, value in kept.items() if getattr(trainer, name) is not value] == []


@pytest.mark.parametrize("name", OVERRIDES)
def test_override_can_be_called_as_stock(name: str) -> None:
    """By position or by name; more parameters only with defaults."""
    ours = inspect.signature(getattr(MultitaskTrainer, name)).parameters
    stock = inspect.signature(getattr(Trainer, name)).parameters
    by_any_name = any(parameter.kind is parameter.VAR_KEYWORD for parameter in ours.values())
    positional = [parameter.name for parameter in ours.values() if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
    assert positional == list(stock)[: len(positional)]
    assert by_any_name or set(stock) <= set(ours)
    for parameter in (ours[key] for key in positional if stock[key].default is not inspect.Parameter.empty):
        assert parameter.default == stock[parameter.name].default


def test_no_callback_and_no_instance_state_is_added(tmp_path: Path) -> None:
    trainers = [Side(cls, TrainingArguments, tmp_path).trainer() for cls in (Trainer, MultitaskTrainer)]
    stock, ours = trainers
    kinds = [[type(callback) for callback in trainer.callback_handler.callbacks] for trainer in trainers]
    assert kinds[0] == kinds[1]
    for trainer in trainers:
        trainer.train()
    assert set(vars(ours)) - set(vars(stock)) == {"is_multitask"}
    assert set(vars(stock)) <= set(vars(ours))
    assert not differences(stock.args.to_dict(), ours.args.to_dict())


def test_default_arguments_are_stocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stock, ours = Trainer(bert()), MultitaskTrainer(bert())
    assert type(ours.args) is TrainingArguments
    assert not differences(stock.args.to_dict(), ours.args.to_dict())
    assert ours.data_collator is stock.data_collator


def test_the_users_collator_stays_the_object_given(side: Side) -> None:
    trainer = side.trainer({"num_train_epochs": 1, "eval_strategy": "epoch"}, eval_dataset=sentences(5))
    trainer.train()
    assert trainer.data_collator is pad


def test_the_train_loader_may_be_built_at_any_time(side: Side) -> None:
    trainer = side.trainer()
    assert len(trainer.get_train_dataloader()) == len(trainer.get_train_dataloader()) == 6
    trainer.train()
    assert len(trainer.get_train_dataloader()) == 6
    assert trainer.num_examples(trainer.get_train_dataloader()) == 22


class CallableDict(dict):
    """A collator that is a mapping as well."""

    def __call__(self, examples: list) -> dict:
        return pad(examples)


def test_a_collator_may_be_a_mapping(side: Side) -> None:
    collator = CallableDict()
    assert side.trainer(data_collator=collator).data_collator is collator


@pytest.mark.parametrize(
    "name",
    ["tasks", "meta_set", "kinds", "train_datasets", "history", "global_batch_size", "runner", "_runner"],
)
def test_a_subclass_may_use_a_name_that_multitask_mode_uses(name: str, side: Side) -> None:
    """`self.history = []` in a user's subclass is common, and works with stock."""

    class Mine(MultitaskTrainer):
        def __init__(self, **kwargs: object) -> None:
            super().__init__(**kwargs)
            setattr(self, name, ["mine"])

    trainer = side.trainer({"max_steps": 1}, cls=Mine)
    trainer.train()
    assert getattr(trainer, name) == ["mine"]


@pytest.mark.parametrize("cls", [Trainer, MultitaskTrainer])
def test_same_errors(cls: type, tmp_path: Path) -> None:
    side = Side(cls, TrainingArguments, tmp_path)
    with pytest.raises(RuntimeError, match="requires either a `model` or `model_init`"):
        cls(args=side.args())
    with pytest.raises(TypeError, match="unexpected keyword argument 'tokenizer'"):
        side.trainer(tokenizer=tokenizer())
    with pytest.raises(ValueError, match="training requires a train_dataset"):
        side.trainer(train_dataset=None).train()
    with pytest.raises(ValueError, match="evaluation requires an eval_dataset"):
        side.trainer().evaluate()


def test_multitask_arguments_stay_as_given(tmp_path: Path) -> None:
    side = Side(MultitaskTrainer, MultitaskTrainingArguments, tmp_path)
    args = side.args(metric_for_best_model="eval_a_loss")
    before = args.to_dict()
    trainer = MultitaskTrainer(bert(), args, pad, sentences(8), {"a": sentences(3)})
    trainer.train()
    trainer.evaluate()
    assert trainer.args is args
    assert not differences(before, args.to_dict())
