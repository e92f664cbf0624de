"""Trainer's own settings with several tasks: what cannot work is refused before training; the best model's metric."""

import dataclasses
import math

import pytest
from torch.utils.data import Subset
from transformers import Trainer, TrainerCallback

from hf_alphavil import MultitaskTrainer, MultitaskTrainingArguments
from hf_alphavil.settings.trainer_fields import check_ddp_fields
from support.kinds_run import kinds_trainer
from support.plain_toys import bert, sentences
from support.toy_run import TARGET, RecordingTrainer, accuracy, toy_args, toy_data, toy_model, toy_trainer


class NoStep(TrainerCallback):
    """Fails the test at the first step."""

    def on_step_begin(self, *args, **kwargs):
        pytest.fail("training started")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"per_device_train_batch_size": 0}, "per_device_train_batch_size=0: pass a whole number of 1 or more"),
        ({"per_device_train_batch_size": 2.5}, "per_device_train_batch_size=2.5: pass a whole number"),
        ({"per_device_eval_batch_size": 0}, "per_device_eval_batch_size=0: pass a whole number of 1 or more"),
        ({"gradient_accumulation_steps": 0}, "gradient_accumulation_steps=0: pass a whole number of 1 or more"),
        ({"eval_accumulation_steps": 0}, "eval_accumulation_steps=0: pass 1 or more, or None"),
        ({"adam_beta2": 1.0}, "adam_beta2=1.0: pass a share from 0 to less than 1"),
        ({"adam_epsilon": float("nan")}, "adam_epsilon=nan: pass a finite number of 0 or more"),
        ({"warmup_steps": float("nan")}, "warmup_steps=nan: pass 0 or more steps, or a share below 1"),
        ({"max_grad_norm": None}, "max_grad_norm=None: pass a number of 0 or more; 0.0 turns clipping off"),
        ({"learning_rate": float("nan")}, "learning_rate=nan: pass a finite number"),
        ({"learning_rate": "5e-5"}, "learning_rate='5e-5': pass a finite number"),
        ({"num_train_epochs": float("nan")}, "num_train_epochs=nan: pass a finite number"),
        ({"num_train_epochs": 0}, "num_train_epochs=0 train nothing: pass a positive number of epochs"),
        ({"max_steps": 0}, "max_steps=0 and num_train_epochs=3 train nothing"),
        ({"seed": -1, "alpha_data": "train_holdout"}, r"seed=-1: pass a whole number from 0 to 2\*\*32 - 1"),
        ({"data_seed": 2**32, "alpha_data": "train_holdout"}, "data_seed=4294967296: pass a whole number from 0"),
        ({"optim_args": "momentum"}, "optim_args='momentum': pass 'name=value,name=value'"),
        ({"log_level": "loud"}, "log_level='loud': pass one of passive, detail, debug"),
        (
            {"train_sampling_strategy": "group_by_length"},
            r"'group_by_length'\): row 0 of task 'a' has no list of `input_ids`",
        ),
        (
            {"train_sampling_strategy": "group_by_length", "length_grouping": "off"},
            "length_grouping='off': pass 'on' or 'auto' with train_sampling_strategy='group_by_length'",
        ),
        ({"dataloader_drop_last": True}, "dataloader_drop_last=True: pass False, or leave it out"),
        (
            {"dataloader_in_order": False, "dataloader_num_workers": 2},
            "dataloader_in_order=False: pass True, or at most one worker",
        ),
        ({"use_liger_kernel": True}, "use_liger_kernel=True: pass False"),
        ({"deepspeed": "zero3.json"}, "DeepSpeed is not supported"),
        ({"lr_scheduler_type": "warmup_stable_decay"}, r"'warmup_stable_decay' does not work with .*num_decay_steps"),
        ({"lr_scheduler_kwargs": {"power": 2}}, "lr_scheduler_type='linear' does not work with .*'power': 2"),
        ({"label_smoothing_factor": 0.1}, r"label_smoothing_factor=0.1: pass 0.0.*ToyModel has no `config`"),
        ({"neftune_noise_alpha": 5.0}, r"neftune_noise_alpha=5.0: pass None \(ToyModel has no `get_input_embeddings`"),
        (
            {"activation_checkpointing": True},
            "activation_checkpointing=True: pass False, or call torch.utils.checkpoint",
        ),
        (
            {"eval_do_concat_batches": False},
            "eval_do_concat_batches=False: pass True, because `compute_metrics` of 'a'",
        ),
        (
            {"batch_eval_metrics": True},
            "batch_eval_metrics=True: pass False: the metrics of a take no `compute_result`",
        ),
        ({"include_for_metrics": ["inputs"]}, r"include_for_metrics=\['inputs'\]: .* a batch of 'a' has x, labels"),
        ({"label_names": ["y"]}, r"label_names=\['y'\]: pass inputs that exist: a batch of 'a' has x, labels"),
        (
            {"metric_for_best_model": "f1"},
            "metric_for_best_model='eval_a_f1'.*pass one of eval_a_accuracy, eval_a_loss",
        ),
        (
            {"greater_is_better": True},
            "greater_is_better=True, but the best model has the least eval_a_loss: leave it",
        ),
        (
            {"metric_for_best_model": "accuracy", "prediction_loss_only": True},
            "an evaluation of task 'a' gives no 'accuracy': pass one of loss",
        ),
        (
            {"alpha_objective": "metric", "alpha_optimizer": "gradient_free", "include_for_metrics": ["loss"]},
            r"include_for_metrics=\['loss'\]: pass \[\] with alpha_objective='metric'",
        ),
    ],
    ids=lambda value: (
        " ".join(f"{name}={setting}" for name, setting in value.items()) if isinstance(value, dict) else ""
    ),
)
def test_what_cannot_work_is_refused_before_training(settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        toy_trainer(tmp_path, callbacks=[NoStep()], **{"eval_strategy": "epoch"} | settings).train()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("joint_fraction", 2.0, r"joint_fraction=2.0: pass a share in \[0, 1\)"),
        ("alpha_data", "nowhere", "alpha_data='nowhere': pass one of train_holdout"),
        ("method", "alphavill", "unknown method 'alphavill': .*Did you mean 'alphavil'"),
        ("alphavil_preset", "letter", "alphavil_preset='letter': pass one of joint, paper"),
        ("task_weights", "a=-1", "task_weights='a=-1': pass a number above 0"),
    ],
)
def test_what_is_set_later_is_checked_too(name, value, message, tmp_path):
    trainer = toy_trainer(tmp_path, callbacks=[NoStep()])
    setattr(trainer.args, name, value)
    with pytest.raises(ValueError, match=message):
        trainer.train()


def test_a_target_without_validation_rows_cannot_be_evaluated_during_training(tmp_path):
    train, _ = toy_data()
    args = toy_args(tmp_path, alpha_data="train", eval_strategy="epoch")
    with pytest.raises(ValueError, match=r"eval_strategy='epoch', but the target 'a' has no validation set: pass one"):
        MultitaskTrainer(model=toy_model(), args=args, train_dataset=train, eval_dataset={"b": train["b"]})


@pytest.mark.parametrize("field", ["ddp_find_unused_parameters", "ddp_static_graph"])
def test_ddp_of_one_graph_for_all_steps(field, tmp_path):
    args = toy_args(tmp_path, **{field: field == "ddp_static_graph"})
    args.__dict__["world_size"] = 2  # shadows nothing: world_size is a property of the class
    many = type("TwoProcesses", (), {**vars(args), "world_size": 2})()
    with pytest.raises(ValueError, match=f"{field}=.*a step uses only the head of its task"):
        check_ddp_fields(many, num_trained=3)
    check_ddp_fields(many, num_trained=1)
    check_ddp_fields(args, num_trained=3)


def test_metrics_of_the_user_s_own_that_fit_a_setting_work(tmp_path):
    def of_lists(prediction):
        right = [
            (logits.argmax(-1) == labels).mean()
            for logits, labels in zip(prediction.predictions, prediction.label_ids, strict=True)
        ]
        return {"accuracy": float(sum(right) / len(right))}

    train, meta = toy_data()
    args = toy_args(tmp_path, eval_do_concat_batches=False, metric_for_best_model="accuracy", eval_strategy="epoch")
    data = {"train_dataset": train, "eval_dataset": {TARGET: meta}}
    trainer = MultitaskTrainer(model=toy_model(), args=args, compute_metrics=of_lists, **data)
    trainer.train()
    whole = MultitaskTrainer(
        model=trainer.model,
        args=dataclasses.replace(args, eval_do_concat_batches=True),
        compute_metrics=accuracy,
        **data,
    )
    assert trainer.evaluate()["eval_a_accuracy"] == whole.evaluate()["eval_a_accuracy"]


def test_the_rehearsal_of_a_metric_leaves_the_run_as_it_is(tmp_path):
    class CountBatches(TrainerCallback):
        def __init__(self):
            self.count = 0

        def on_prediction_step(self, *args, **kwargs):
            self.count += 1

    def run(**settings):
        batches = CountBatches()
        trainer = toy_trainer(tmp_path, noisy=True, eval_strategy="epoch", callbacks=[batches], **settings)
        trainer.train()
        return trainer.history, batches.count, sum("eval_a_loss" in entry for entry in trainer.state.log_history)

    assert run(metric_for_best_model="accuracy") == run()


# ---- The metric of the best model


@pytest.mark.parametrize(
    ("target", "settings", "name", "greater"),
    [
        ("pair", {}, "eval_pair_accuracy", True),
        ("pair", {"metric_for_best_model": "other_exact_match"}, "eval_other_exact_match", True),
        ("pair", {"prediction_loss_only": True}, "eval_pair_loss", False),
        ("score", {}, "eval_score_combined_score", True),
        ("score", {"metric_for_best_model": "pearson"}, "eval_score_pearson", True),
        ("score", {"metric_for_best_model": "pearson", "greater_is_better": False}, "eval_score_pearson", False),
        ("score", {"metric_for_best_model": "score_loss"}, "eval_score_loss", False),
    ],
)
def test_best_metric_of_tasks(target, settings, name, greater, tmp_path):
    trainer = kinds_trainer(tmp_path, target=target, **settings)
    assert (trainer.args.metric_for_best_model, trainer.args.greater_is_better) == (name, greater)
    again = kinds_trainer(tmp_path, target=target, **{
        "metric_for_best_model": name, "greater_is_better": greater, "prediction_loss_only": False
    })  # fmt: skip
    assert (again.args.metric_for_best_model, again.args.greater_is_better) == (name, greater)


def test_an_error_is_minimised(tmp_path):
    task = "score"
    trainer = kinds_trainer(tmp_path, target=task)
    errors = dataclasses.replace(
        trainer.task_setup.tasks[task], metrics=("mean_squared_error", "pearson"), main_metric="pearson"
    )
    args = dataclasses.replace(trainer.args, metric_for_best_model="mean_squared_error", greater_is_better=None)
    other = MultitaskTrainer(
        model=trainer.model, args=args, tasks={task: errors}, processing_class=trainer.processing_class
    )
    assert (other.args.metric_for_best_model, other.args.greater_is_better) == ("eval_score_mean_squared_error", False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"metric_for_best_model": "f1"}, "an evaluation of task 'pair' gives no 'f1': pass one of loss, accuracy"),
        (
            {"metric_for_best_model": "tags_accurcy"},
            "an evaluation of task 'tags' gives no 'accurcy': pass one of loss, f1",
        ),
        ({"eval_do_concat_batches": False}, "eval_do_concat_batches=False: pass True: the metrics of pair"),
        ({"batch_eval_metrics": True}, "batch_eval_metrics=True: pass False: the metrics of pair"),
    ],
)
def test_tasks_metrics_refuse_before_training(settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        kinds_trainer(tmp_path, target="pair", **{"eval_strategy": "epoch"} | settings)


# ---- Arguments stay the user's


def test_arguments_survive_a_trainer_that_could_not_be_made(tmp_path):
    train, meta = toy_data()
    args = toy_args(tmp_path, enable_jit_checkpoint=True)
    with pytest.raises(RuntimeError, match="`model` or `model_init`"):
        MultitaskTrainer(args=args, train_dataset=train, eval_dataset={TARGET: meta})
    assert args.enable_jit_checkpoint
    assert args.ddp_find_unused_parameters is None


def test_one_plain_dataset_with_settings_of_several_tasks_warns(tmp_path, caplog):
    def plain(**settings):
        caplog.clear()
        args = MultitaskTrainingArguments(str(tmp_path), use_cpu=True, report_to=[], **settings)
        trainer = MultitaskTrainer(model=bert(), args=args, train_dataset=sentences(4))
        assert not trainer.is_multitask
        return caplog.text

    assert "trained exactly as by transformers.Trainer, so target_task='a', method='single' has no effect" in plain(
        target_task="a", method="single"
    )
    assert "no effect" not in plain()
    assert isinstance(Trainer, type)


# ---- What is given to the trainer after it was made, or overridden in vain


def test_rows_and_metrics_cannot_be_assigned(tmp_path):
    trainer = toy_trainer(tmp_path, callbacks=[NoStep()])
    trainer.train_dataset = toy_data()[0]["a"]
    with pytest.raises(ValueError, match=r"`trainer\.train_dataset` was set after the trainer was made"):
        trainer.train()
    trainer = toy_trainer(tmp_path, callbacks=[NoStep()])
    trainer.compute_metrics = accuracy
    for act in (trainer.train, trainer.evaluate):
        with pytest.raises(ValueError, match=r"`trainer\.compute_metrics` was set after the trainer was made"):
            act()


def test_validation_rows_can_be_assigned(tmp_path):
    trainer, (_, meta) = toy_trainer(tmp_path), toy_data()
    of_half = trainer.evaluate(Subset(meta, range(20)))["eval_a_loss"]
    assert of_half != trainer.evaluate()["eval_a_loss"]
    trainer.eval_dataset = {TARGET: Subset(meta, range(20))}
    assert trainer.evaluate()["eval_a_loss"] == of_half


class WithSampler(RecordingTrainer):
    def _get_train_sampler(self, *args):
        pytest.fail("the plan chooses the rows")

    def compute_loss(self, *args, **kwargs):
        return super().compute_loss(*args, **kwargs)


@pytest.mark.parametrize(
    ("trainer_class", "method", "has_sampler", "has_own_loss"),
    [
        (RecordingTrainer, "alphavil", False, False),
        (WithSampler, "alphavil", True, True),
        (WithSampler, "multitask", True, False),
    ],
)
def test_overrides_that_have_no_effect_are_named(trainer_class, method, has_sampler, has_own_loss, tmp_path, caplog):
    toy_trainer(tmp_path, trainer_class=trainer_class, method=method, num_train_epochs=1).train()
    assert ("WithSampler overrides _get_train_sampler, which has no effect" in caplog.text) == has_sampler
    assert ("'alphavil' measures the loss that the model returns, not that of your" in caplog.text) == has_own_loss


class WithPerplexity(RecordingTrainer):
    def evaluate(self, *args, **kwargs):
        scores = super().evaluate(*args, **kwargs)
        return scores | {"eval_a_perplexity": math.exp(scores["eval_a_loss"])}


def test_a_subclass_s_score_may_choose_the_best_model(tmp_path):
    settings = {"metric_for_best_model": "perplexity", "greater_is_better": False, "save_strategy": "best"}
    trainer = toy_trainer(
        tmp_path, trainer_class=WithPerplexity, eval_strategy="epoch", num_train_epochs=1, **settings
    )
    trainer.train()
    assert trainer.state.best_metric == math.exp(trainer.evaluate()["eval_a_loss"])


def test_logits_are_reduced_by_one_function(tmp_path):
    trainer = toy_trainer(tmp_path, callbacks=[NoStep()])
    trainer.preprocess_logits_for_metrics = {"a": lambda logits, labels: logits}
    with pytest.raises(TypeError, match="`preprocess_logits_for_metrics` is a dict: pass one function of logits"):
        trainer.train()


# ---- Whose rows an evaluation is of


def test_a_validation_set_is_evaluated_as_its_task(tmp_path):
    trainer = kinds_trainer(tmp_path, target="pair")
    for name in ("other", "score"):
        assert f"eval_{name}_loss" in trainer.evaluate(trainer.eval_dataset[name])
        assert f"test_{name}_loss" in trainer.predict(trainer.eval_dataset[name]).metrics
    assert "eval_score_loss" in trainer.evaluate(trainer.eval_dataset["score"].dataset)
    assert "eval_score_loss" in trainer.evaluate(trainer.train_datasets["score"].dataset)
    train, meta = toy_data()
    own = toy_trainer(tmp_path)
    assert "eval_a_loss" in own.evaluate(meta)
    assert "eval_b_loss" in own.evaluate({"b": train["b"]})
