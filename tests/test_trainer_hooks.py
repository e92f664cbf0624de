"""Methods of `transformers.Trainer` that multitask mode overrides, by name and parameters: an upgrade fails here."""

import inspect

import pytest
from transformers import Trainer

from hf_alphavil import MultitaskTrainer
from hf_alphavil.checkpointing.mixin import CheckpointingMixin
from hf_alphavil.evaluation import EvaluationMixin
from hf_alphavil.publishing import PublishingMixin
from hf_alphavil.reporting.mixin import ReportingMixin
from hf_alphavil.run.loop_mixin import TrainingLoopMixin
from hf_alphavil.run.step_mixin import TrainingStepMixin
from hf_alphavil.search import SearchMixin
from hf_alphavil.trainer_hooks import multitask_hook

PINNED = {
    "create_accelerator_and_postprocess": ["self"],
    "get_total_train_batch_size": ["self", "args"],
    "get_train_dataloader": ["self"],
    "_wrap_model": ["self", "model", "training", "dataloader"],
    "_inner_training_loop": ["self", "batch_size", "args", "resume_from_checkpoint", "trial", "ignore_keys_for_eval"],
    "create_model_card": [
        "self",
        "language",
        "license",
        "tags",
        "model_name",
        "finetuned_from",
        "tasks",
        "dataset_tags",
        "dataset",
        "dataset_args",
    ],
    "init_hf_repo": ["self", "token", "private"],
    "push_to_hub": ["self", "commit_message", "blocking", "token", "revision", "private", "**kwargs"],
    "train": ["self", "resume_from_checkpoint", "trial", "ignore_keys_for_eval"],
    "save_model": ["self", "output_dir", "_internal_call"],
    "_save": ["self", "output_dir", "state_dict"],
    "_get_output_dir": ["self", "trial"],
    "_save_checkpoint": ["self", "model", "trial"],
    "_push_from_checkpoint": ["self", "checkpoint_folder"],
    "_save_optimizer_and_scheduler": ["self", "output_dir"],
    "_load_optimizer_and_scheduler": ["self", "checkpoint"],
    "num_examples": ["self", "dataloader"],
    "set_initial_training_values": ["self", "args", "dataloader"],
    "_prepare_for_training": ["self", "max_steps", "train_dataloader", "resume_from_checkpoint"],
    "create_optimizer": ["self", "model"],
    "create_scheduler": ["self", "num_training_steps", "optimizer"],
    "_determine_best_metric": ["self", "metrics", "trial"],
    "_init_training_state": [
        "self",
        "max_steps",
        "num_update_steps_per_epoch",
        "num_train_epochs",
        "resume_from_checkpoint",
        "trial",
    ],
    "_maybe_log_save_evaluate": [
        "self",
        "tr_loss",
        "grad_norm",
        "model",
        "trial",
        "epoch",
        "ignore_keys_for_eval",
        "start_time",
        "learning_rate",
    ],
    "_finalize_training": ["self", "trial", "num_train_samples", "start_time"],
    "training_step": ["self", "model", "inputs", "num_items_in_batch"],
    "floating_point_ops": ["self", "inputs"],
    "_track_num_input_tokens": ["self", "inputs"],
    "compute_loss": ["self", "model", "inputs", "return_outputs", "num_items_in_batch"],
    "autocast_smart_context_manager": ["self", "cache_enabled"],
    "_get_learning_rate": ["self"],
    "_get_num_items_in_batch": ["self", "batch_samples", "device"],
    "evaluate": ["self", "eval_dataset", "ignore_keys", "metric_key_prefix"],
    "predict": ["self", "test_dataset", "ignore_keys", "metric_key_prefix"],
    "get_eval_dataloader": ["self", "eval_dataset"],
    "get_test_dataloader": ["self", "test_dataset"],
    "evaluation_loop": [
        "self",
        "dataloader",
        "description",
        "prediction_loss_only",
        "ignore_keys",
        "metric_key_prefix",
    ],
    "_get_collator_with_removed_columns": ["self", "data_collator", "description"],
    "hyperparameter_search": [
        "self",
        "hp_space",
        "compute_objective",
        "n_trials",
        "direction",
        "backend",
        "hp_name",
        "**kwargs",
    ],
    "call_model_init": ["self", "trial"],
    "_hp_search_setup": ["self", "trial"],
}

OURS = (
    MultitaskTrainer,
    CheckpointingMixin,
    TrainingLoopMixin,
    TrainingStepMixin,
    PublishingMixin,
    ReportingMixin,
    EvaluationMixin,
    SearchMixin,
)


def parameters_of(method):
    """Names of the parameters; those that take the rest have their stars."""
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    return [f"{stars.get(p.kind, '')}{p.name}" for p in inspect.signature(method).parameters.values()]


def overridden():
    """Name by owner of everything that our classes override in Trainer."""
    return {
        name: owner
        for owner in OURS
        for name, value in vars(owner).items()
        if callable(value) and hasattr(Trainer, name)
    }


def test_every_override_is_pinned():
    assert sorted(overridden()) == sorted([*PINNED, "__init__"])


@pytest.mark.parametrize("name", PINNED)
def test_trainer_still_has_the_hook(name):
    assert hasattr(Trainer, name), f"transformers.Trainer no longer has {name}, which multitask mode overrides"
    theirs = parameters_of(getattr(Trainer, name))
    assert theirs == PINNED[name], (
        f"transformers.Trainer.{name} takes {theirs}, multitask mode overrides {PINNED[name]}"
    )


@pytest.mark.parametrize("name", PINNED)
def test_an_override_takes_what_the_hook_takes(name):
    ours = parameters_of(getattr(overridden()[name], name))
    assert ours in (PINNED[name], ["self", "*args", "**kwargs"])


def test_the_constructor_takes_trainers_arguments_in_their_order():
    assert parameters_of(MultitaskTrainer.__init__) == [*parameters_of(Trainer.__init__), "tasks"]


class Base:
    is_multitask = False

    def greet(self, name="you"):
        return f"stock {name}"


class Middle(Base):
    @multitask_hook
    def greet(self, name="you"):
        """Greets."""
        return f"middle, {super().greet(name)}"


class Derived(Middle):
    @multitask_hook
    def greet(self, name="you"):
        return f"derived, {super().greet(name)}"


class Users(Derived):
    def greet(self, name="you"):
        return f"user's, {super().greet(name)}"


def test_in_plain_mode_a_hook_is_stock():
    assert Users().greet("Ada") == "user's, stock Ada"
    assert Derived.greet(Users(), name="Ada") == "stock Ada"


def test_in_multitask_mode_hooks_run_one_after_another():
    trainer = Users()
    trainer.is_multitask = True
    assert trainer.greet("Ada") == "user's, derived, middle, stock Ada"
    assert Middle.greet(trainer) == "middle, stock you"


def test_a_hook_keeps_its_name_and_words():
    assert Middle.greet.__name__ == "greet"
    assert Middle.greet.__doc__ == "Greets."
    assert parameters_of(Middle.greet) == ["self", "name"]
