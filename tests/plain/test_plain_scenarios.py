"""In plain mode every scenario runs as with `transformers.Trainer`, bit for bit."""

from pathlib import Path

import pytest
from transformers import Trainer

from hf_alphavil import MultitaskTrainingArguments
from support.plain_harness import Side, assert_same
from support.plain_scenarios import SCENARIOS
from support.plain_toys import sentences


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario_runs_as_stock(name: str, tmp_path: Path) -> None:
    assert_same(SCENARIOS[name], tmp_path)


MORE = ("dict_evaluation", "label_smoothing", "train_twice", "own_subclass")


@pytest.mark.parametrize(
    "name", ["accumulation", "hub_data", *(pytest.param(name, marks=pytest.mark.slow) for name in MORE)]
)
def test_multitask_arguments_change_nothing(name: str, tmp_path: Path) -> None:
    assert_same(SCENARIOS[name], tmp_path, args_class=MultitaskTrainingArguments)


SETTINGS = {
    "autocast": {"bf16": True},
    "best_only": {"save_strategy": "best", "metric_for_best_model": "loss", "eval_strategy": "epoch"},
    "checkpoint_grads": {"activation_checkpointing": True},
    "data_seed": {"data_seed": 3, "seed": 5},
    "drop_last": {"dataloader_drop_last": True},
    "epoch_strategies": {"logging_strategy": "epoch", "save_strategy": "epoch", "eval_strategy": "epoch"},
    "eval_on_start": {"eval_strategy": "steps", "eval_steps": 4, "eval_on_start": True, "eval_delay": 5},
    "eval_pieces": {"eval_strategy": "epoch", "eval_accumulation_steps": 1, "eval_do_concat_batches": False},
    "fraction": {"num_train_epochs": 1.4, "eval_strategy": "steps", "eval_steps": 0.3},
    "loss_only": {"eval_strategy": "epoch", "prediction_loss_only": True},
    "model_only": {"save_strategy": "steps", "save_steps": 4, "save_only_model": True},
    "neftune": {"neftune_noise_alpha": 5.0},
    "no_clipping": {"max_grad_norm": 0.0, "weight_decay": 0.1},
    "plateau": {"lr_scheduler_type": "reduce_lr_on_plateau", "eval_strategy": "epoch"},
    "tokens_seen": {"include_num_input_tokens_seen": True},
    "workers": {"dataloader_num_workers": 1, "eval_strategy": "epoch", "dataloader_persistent_workers": True},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_setting_acts_as_in_stock(name: str, tmp_path: Path) -> None:
    def run(side: Side) -> Trainer:
        trainer = side.trainer(SETTINGS[name], eval_dataset=sentences(9, seed=1))
        side.notes["output"] = tuple(trainer.train())
        return trainer

    assert_same(run, tmp_path)
