"""Settings that have no effect beside others are told, once, and truly have none."""

import re

import pytest
import torch

from hf_alphavil.script_arguments import (
    DriverArguments,
    DriverTrainingArguments,
    warn_of_unread_flags,
    warn_of_unread_hub_flags,
)
from support.toy_run import toy_trainer


# The toy's own settings include `weight_applies_to` and `alpha_data`.
@pytest.mark.parametrize(
    ("settings", "unread"),
    [
        (
            {"method": "multitask", "alpha_steps": 3, "alpha_l1": 0.1},
            "alpha_steps alpha_l1 alpha_data weight_applies_to",
        ),
        ({"method": "single", "prune_below": 0.2}, "prune_below alpha_data alpha_steps weight_applies_to"),
        ({"method": "forkmerge", "alpha_objective": "entropy"}, "alpha_objective alpha_steps weight_applies_to"),
        ({"method": "alphavil", "alpha_objective": "entropy", "prune_below": 0.2}, ""),
        (
            {"method": "tawt", "delta_device": "cpu", "optimizer_state_dtype": "bfloat16", "alpha_steps": 10},
            "alpha_data delta_device",
        ),
        (
            {"method": "gcs", "delta_device": "cpu", "optimizer_state_dtype": "bfloat16", "alpha_steps": 10},
            "alpha_data delta_device optimizer_state_dtype weight_applies_to",
        ),
        (
            {"method": "stilts", "alpha_steps": 10, "delta_dtype": "bfloat16", "optimizer_state_device": "cpu"},
            "alpha_data delta_dtype weight_applies_to",
        ),
        ({"phase_optimizer_state": "reset", "optimizer_state_device": "cpu"}, "optimizer_state_device"),
        (
            {"method": "single", "task_weights": {"a": 2.0}, "alpha_steps": 10},
            "task_weights alpha_data weight_applies_to",
        ),
        (
            {"method": "gcs", "task_weights": {"a": 2.0}, "alpha_steps": 10},
            "task_weights alpha_data weight_applies_to",
        ),
        ({"method": "multitask", "task_weights": {"a": 2.0}, "alpha_steps": 10}, "alpha_data"),
        (
            {"method": "multitask", "task_weights": {"a": 2.0}, "alpha_steps": 10, "task_sampling": "weights"},
            "alpha_data weight_applies_to",
        ),
        (
            {"method": "diw", "alpha_steps": 10, "joint_fraction": 0.5, "merge_deltas": False}
            | {"max_auxiliaries_per_epoch": 1},
            "max_auxiliaries_per_epoch joint_fraction merge_deltas",
        ),
        ({"method": "diw", "alpha_steps": 10, "alpha_batch_size": 8}, "alpha_batch_size"),
        ({"method": "hydalearn", "alpha_steps": 10, "alpha_batch_size": 8}, "weight_applies_to"),
        ({"eval_auxiliaries": True}, "eval_auxiliaries"),  # the toy has no other validation set than the target's
        ({"alpha_autocast": True}, "alpha_autocast"),
        ({"alpha_autocast": True, "bf16": True}, ""),
        ({"alpha_tolerance": 0.1, "alpha_optimizer": "lbfgs"}, "alpha_tolerance"),
        ({"alpha_tolerance": 0.1}, ""),
        ({"alpha_tolerance": 0.1, "alpha_steps": 2}, "alpha_tolerance"),
        ({"alpha_tolerance": 0.1, "alpha_steps": 3}, ""),
        (
            {
                "alpha_steps": 0,
                "alpha_optimizer": "lbfgs",
                "alpha_max": 2.0,
                "max_weight_change": 0.1,
                "alpha_init": 0.5,
            },
            "alpha_optimizer alpha_max max_weight_change",
        ),
        ({"alpha_holdout_fraction": 0.2}, "alpha_holdout_fraction"),
        ({"alpha_holdout_fraction": 0.3, "alpha_data": "train_holdout"}, ""),
        ({"prune_patience": 3}, "prune_patience"),
        ({"prune_patience": 3, "prune_below": 0.2}, ""),
        ({"task_sampling": "uniform"}, "task_sampling"),
        ({"task_sampling": "temperature", "sampling_temperature": 3.0}, "task_sampling sampling_temperature"),
        ({"phase_lengths": "temperature", "sampling_temperature": 3.0}, ""),
        ({"phase_lengths": "temperature", "sampling_temperature": 3.0, "task_sampling": "uniform"}, "task_sampling"),
        ({"phase_lengths": "equal", "sampling_temperature": 3.0}, "sampling_temperature"),
        (
            {"method": "diw", "alpha_steps": 10, "phase_lengths": "temperature", "sampling_temperature": 3.0},
            "phase_lengths sampling_temperature",
        ),
        ({"task_sampling": "uniform", "joint_fraction": 0.5}, ""),
        ({"sampling_temperature": 3.0, "joint_fraction": 0.5}, "sampling_temperature"),
        ({"task_sampling": "temperature", "sampling_temperature": 3.0, "joint_fraction": 0.5}, ""),
        (
            {"method": "probed_mixture", "alpha_steps": 10, "task_sampling": "uniform"},
            "task_sampling weight_applies_to",
        ),
        ({"target_phase": "last", "min_target_weight": 0.5}, "min_target_weight"),
        ({"target_phase": "last", "min_target_weight": 0.5, "normalize_task_weights": "all"}, ""),
        ({"length_grouping": "off", "length_column_name": "size"}, "length_column_name"),
        ({"length_grouping": "off"}, ""),
        ({"max_length": 64}, "max_length"),  # the toy's rows are no texts
    ],
)
def test_settings_that_nothing_reads_are_told_once(tmp_path, caplog, settings, unread):
    toy_trainer(tmp_path, **settings)
    told = [record.getMessage() for record in caplog.records if "which has no effect" in record.getMessage()]
    # Before its list, a message may name the settings that it is because of.
    lists = [re.search(r"(?:does not read|therefore not) (.*), which has no effect\.$", text)[1] for text in told]
    assert sorted(re.findall(r"(\w+)=", ", ".join(lists))) == sorted(unread.split())


@pytest.mark.parametrize(
    ("settings", "unread"),
    [
        ({"method": "multitask"}, {"weight_applies_to": "loss"}),
        (
            {"method": "multitask", "task_weights": {"a": 2.0}, "task_sampling": "weights"},
            {"weight_applies_to": "loss"},
        ),
        ({"method": "single"}, {"task_sampling": "uniform", "weight_applies_to": "loss"}),
        ({"method": "stilts"}, {"phase_optimizer_state": "reset", "weight_applies_to": "loss"}),
        ({"method": "forkmerge"}, {"task_sampling": "uniform", "weight_applies_to": "loss", "alpha_batch_size": 8}),
        (
            {"method": "probed_mixture"},
            {"task_sampling": "uniform", "weight_applies_to": "loss", "alpha_batch_size": 8},
        ),
        ({"method": "diw"}, {"alpha_batch_size": 8, "sampling_temperature": 3.0}),
        ({"method": "gradnorm"}, {"task_sampling": "uniform", "weight_applies_to": "loss"}),
        ({"alpha_steps": 2}, {"alpha_tolerance": 0.9}),
        (
            {"alpha_steps": 0, "task_weights": {"a": 2.0}},
            {
                "alpha_optimizer": "lbfgs",
                "alpha_learning_rate": 1.0,
                "alpha_granularity": "layer",
                "alpha_l2": 1.0,
                "alpha_min": 0.5,
                "alpha_max": 2.0,
                "alpha_batch_size": 8,
                "max_weight_change": 0.1,
            },
        ),
        ({}, {"task_sampling": "uniform", "prune_patience": 1, "alpha_holdout_fraction": 0.3}),
        ({"joint_fraction": 0.5}, {"sampling_temperature": 3.0}),
        *(
            (
                {"target_phase": "last", "joint_fraction": 0.4, "normalize_task_weights": normalization},
                {"min_target_weight": 1.0},
            )
            for normalization in ("none", "auxiliaries", "target")
        ),
    ],
)
def test_settings_that_nothing_reads_change_nothing(tmp_path, caplog, settings, unread):
    trained = []
    for number, more in enumerate(({}, unread)):
        trainer = toy_trainer(tmp_path / str(number), **{"weight_applies_to": "learning_rate"} | settings | more)
        trainer.train()
        trained.append(trainer.model.state_dict())
    assert all(torch.equal(trained[0][name], value) for name, value in trained[1].items())
    assert all(f"{name}={value!r}" in caplog.text for name, value in unread.items())


@pytest.mark.parametrize(
    ("flags", "settings", "unread"),
    [
        ({"max_predict_samples": 5}, {}, "max_predict_samples"),
        ({"max_predict_samples": 5}, {"do_predict": True}, ""),
        ({"make_submission": "glue"}, {}, ""),
        ({"max_predict_samples": 5}, {"alpha_objective": "entropy", "alpha_data": "test"}, ""),
        (
            {"max_predict_samples": 5},
            {"alpha_objective": "entropy", "alpha_data": "test", "do_train": False},
            "max_predict_samples",
        ),
        ({"max_train_samples": 5, "max_eval_samples": 5}, {}, ""),
        ({"max_train_samples": 5, "diagnostics": ["ax"]}, {"do_train": False}, "max_train_samples"),
        ({"max_eval_samples": 5, "diagnostics": ["ax"]}, {"do_eval": False}, "max_eval_samples diagnostics"),
        ({"diagnostics": ["ax"]}, {"do_eval": False, "do_predict": True}, ""),
        ({"max_eval_samples": 5}, {"do_eval": False, "alpha_data": "validation"}, ""),
        ({"max_eval_samples": 5, "diagnostics": ["ax"]}, {"do_eval": False, "eval_on_start": True}, ""),
        ({"auxiliary": ["mrpc"]}, {"method": "single"}, "auxiliary"),
        ({"auxiliary": ["none"]}, {"method": "single"}, ""),
        ({"auxiliary": ["mrpc"]}, {}, ""),
        ({"data_dir": "data", "data_revision": "main"}, {}, "data_revision"),
        ({"data_dir": "data", "data_revision": "main", "task_config": "tasks.yaml"}, {}, ""),
        ({"data_revision": "main"}, {}, ""),
        ({"report_examples": 5}, {}, ""),
        ({"report_examples": 5}, {"do_train": False}, "report_examples"),
        ({"report_examples": 5}, {"push_to_hub": True}, "report_examples"),
        ({"report_examples": 0}, {"push_to_hub": True}, ""),
        ({"overwrite_output_dir": True}, {"do_train": False}, "overwrite_output_dir"),
        ({"early_stopping_patience": 1}, {"do_train": False}, "early_stopping_patience"),
    ],
)
def test_flags_of_the_script_that_a_run_does_not_read_are_told(tmp_path, caplog, flags, settings, unread):
    defaults = {"do_train": True, "do_eval": True, "use_cpu": True}
    warn_of_unread_flags(
        DriverArguments(target="rte", **flags), DriverTrainingArguments(str(tmp_path), **defaults | settings)
    )
    told = [record.getMessage() for record in caplog.records if "which has no effect" in record.getMessage()]
    assert [re.search(r"does not read --(\w+), which has no effect\.$", text)[1] for text in told] == unread.split()


@pytest.mark.parametrize(
    ("settings", "unread"),
    [
        ({}, []),
        ({"hub_export": "multitask", "hub_model_id": "a/b"}, ["hub_model_id", "hub_export"]),
        ({"hub_export": "multitask", "push_to_hub": True}, []),
        ({"hub_token": "hf_secret"}, ["hub_token"]),
        ({"model_card_template": __file__}, []),
        ({"model_card_template": __file__, "do_train": False}, ["model_card_template"]),
        ({"model_card_template": __file__, "do_train": False, "push_to_hub": True}, []),
    ],
)
def test_flags_of_the_hub_in_a_run_that_pushes_nothing_are_told(tmp_path, caplog, settings, unread):
    warn_of_unread_hub_flags(DriverTrainingArguments(str(tmp_path), **{"do_train": True, "use_cpu": True} | settings))
    told = [record.getMessage() for record in caplog.records if "which has no effect" in record.getMessage()]
    assert re.findall(r"--(\w+)[,.]? ?", " ".join(told).replace("A run without --push_to_hub", "")) == unread
    assert "hf_secret" not in caplog.text
