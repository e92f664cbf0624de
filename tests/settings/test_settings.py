"""Settings from Python, from the command line and from files; every choice and range is checked."""

import dataclasses
import re
from dataclasses import fields

import pytest
import torch
from transformers import HfArgumentParser, TrainingArguments

from hf_alphavil import MultitaskTrainingArguments
from hf_alphavil.methods import METHODS
from hf_alphavil.settings import (
    AlphaArguments,
    HubArguments,
    MethodArguments,
    MultitaskSettings,
    PhaseArguments,
    SamplingArguments,
    TaskArguments,
    WeightArguments,
)

GROUPS = (
    TaskArguments, MethodArguments, AlphaArguments, WeightArguments, PhaseArguments, SamplingArguments, HubArguments,
)  # fmt: skip
OURS = [entry for group in GROUPS for entry in fields(group)]
CHOSEN = [entry for entry in OURS if "choices" in entry.metadata]


def arguments(**settings):
    return MultitaskTrainingArguments("out", use_cpu=True, **settings)


def parse(*words):
    return HfArgumentParser(MultitaskTrainingArguments).parse_args_into_dataclasses(
        ["--output_dir", "out", "--use_cpu", "true", *words], look_for_args_file=False
    )[0]


def test_fields_are_those_of_trainer_then_the_groups_in_order():
    names = [entry.name for entry in fields(MultitaskTrainingArguments)]
    assert names == [entry.name for entry in [*fields(TrainingArguments), *OURS]]
    assert names[0] == "output_dir"
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("text", ["False", "no", ""])
@pytest.mark.parametrize("name", ["merge_deltas", "eval_auxiliaries", "alpha_autocast"])
def test_a_text_is_no_flag(name, text):
    with pytest.raises(ValueError, match=f"{name}='{text}': pass True or False"):
        arguments(**{name: text})
    assert getattr(parse(f"--{name}", "false"), name) is False  # resolves the fields' types in place
    with pytest.raises(ValueError, match=f"{name}='{text}': pass True or False"):
        arguments(**{name: text})


@pytest.mark.parametrize("entry", OURS, ids=lambda entry: entry.name)
def test_every_field_has_help_and_is_in_the_docstring_with_its_default(entry):
    assert entry.metadata["help"]
    described = re.search(rf"(?m)^ +(?:\w+, )*{entry.name}(?:, \w+)* \((.*?)\):", MultitaskTrainingArguments.__doc__)
    assert described, entry.name
    default = f'"{entry.default}"' if isinstance(entry.default, str) else str(entry.default)
    if entry.default in (None, ""):
        assert "defaults to" not in described[1]
    else:
        assert f"defaults to {default}" in described[1].replace("`", "")


@pytest.mark.parametrize("entry", CHOSEN, ids=lambda entry: entry.name)
def test_a_choice_is_refused_in_python_and_on_the_command_line(entry, capsys):
    with pytest.raises(
        ValueError, match=f"{entry.name}='nonsense': pass one of {', '.join(entry.metadata['choices'])}"
    ):
        arguments(**{entry.name: "nonsense"})
    with pytest.raises(SystemExit):
        parse(f"--{entry.name}", "nonsense")
    said = capsys.readouterr().err
    assert f"argument --{entry.name}" in said
    assert all(choice in said for choice in entry.metadata["choices"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_length": 0}, "max_length=0: pass a positive number of tokens"),
        ({"alpha_steps": -1}, "alpha_steps=-1: pass a number of steps"),
        ({"alpha_learning_rate": 0.0}, "alpha_learning_rate=0.0: pass a positive step size"),
        ({"per_device_meta_batch_size": 0}, "per_device_meta_batch_size=0: pass a positive number of rows"),
        ({"alpha_batch_size": 0}, "alpha_batch_size=0: pass a positive number of rows"),
        ({"alpha_holdout_fraction": 1.0}, r"alpha_holdout_fraction=1.0: pass a share in \(0, 1\)"),
        ({"alpha_init": "inf"}, "alpha_init='inf': pass a number above 0, or 'mean'"),
        ({"alpha_min": 1.0, "alpha_max": 1.0}, "alpha_min=1.0: pass less than alpha_max=1.0"),
        ({"alpha_l2": -1.0}, "alpha_l2=-1.0: pass 0 or more"),
        ({"alpha_l1": 0.1, "alpha_optimizer": "lbfgs"}, "alpha_l1=0.1: pass alpha_l2 instead"),
        (
            {"alpha_objective": "metric", "alphavil_preset": "paper"},
            "alpha_optimizer='sgd': pass 'gradient_free' with alpha_objective='metric'",
        ),
        ({"alphavil_preset": "letter"}, "alphavil_preset='letter': pass one of joint, paper"),
        ({"alpha_data": "test"}, "alpha_data='test': pass it together with alpha_objective='entropy'"),
        (
            {"alpha_data": "test", "alpha_objective": "entropy", "method": "multitask"},
            "alpha_data='test': pass it together with alpha_objective='entropy' and method='alphavil'",
        ),
        ({"min_task_weight": 1.5}, "min_task_weight=1.5: pass at most 1"),
        *(
            (
                {"task_weights": given},
                r"task_weights=.*: pass a number above 0 for each task once, {'rte': 2.0}, or on",
            )
            for given in (
                {"a": 0.0},
                {"a": -1},
                {"a": float("nan")},
                {"a": float("inf")},
                {"a": True},
                {"a": None},
                {"a": "x"},
                {1: 2.0},
                {"": 1.0},
                ["a"],
                ["a=1", "a=2"],
                ["a=1", "=2"],
                "a",
                "[1]",
                '{"a": 1',
                '{"a": 1, "a": 1}',
                3,
                [3],
            )
        ),
        ({"min_target_weight": 1.5}, "min_target_weight=1.5: pass 0 or more, and at most 1, where weights start"),
        ({"max_weight_change": 0.0}, "max_weight_change=0.0: pass a positive number"),
        (
            {"normalize_task_weights": True},
            "normalize_task_weights=True: pass one of none, all, auxiliaries, target",
        ),
        (
            {"normalize_task_weights": "target", "min_target_weight": 0.0},
            "normalize_task_weights='target': pass 'target' together with a min_target_weight above 0",
        ),
        ({"weight_average": 1.0}, r"weight_average=1.0: pass a share in \[0, 1\)"),
        ({"prune_patience": 0}, "prune_patience=0: pass a positive number of epochs"),
        ({"prune_below": 1.0}, "prune_below=1.0: pass less than 1"),
        ({"prune_below": 0.05}, "prune_below=0.05: pass at least min_task_weight=0.1"),
        ({"prune_below": 0.1, "weight_average": 0.5}, "prune_below=0.1: pass more than min_task_weight=0.1"),
        ({"max_phase_steps": 0}, "max_phase_steps=0: pass a positive number"),
        (
            {"max_auxiliaries_per_epoch": 0},
            "max_auxiliaries_per_epoch=0: pass a positive whole number, or leave it out",
        ),
        ({"max_auxiliaries_per_epoch": 1.5}, "max_auxiliaries_per_epoch=1.5: pass a positive whole number"),
        (
            {"max_auxiliaries_per_epoch": 2, "measure_contributions": False},
            "max_auxiliaries_per_epoch=2: pass None: contributions choose the auxiliaries",
        ),
        (
            {"max_auxiliaries_per_epoch": 2, "alpha_objective": "entropy"},
            "max_auxiliaries_per_epoch=2: pass None: contributions choose the auxiliaries",
        ),
        ({"rounds_per_epoch": 0}, "rounds_per_epoch=0: pass a positive whole number"),
        ({"rounds_per_epoch": 1.5}, "rounds_per_epoch=1.5: pass a positive whole number"),
        ({"final_target_epochs": -1}, "final_target_epochs=-1: pass a whole number of epochs, 0 or more"),
        (
            {"merge_deltas": False, "alphavil_preset": "paper"},
            "merge_deltas=False: pass True, or joint_fraction above 0",
        ),
        (
            {"merge_deltas": False, "joint_fraction": 0.5, "target_phase": "last"},
            "target_phase='last': pass 'fork' with merge_deltas=False",
        ),
        (
            {"merge_deltas": False, "joint_fraction": 0.5, "rounds_per_epoch": 2},
            "rounds_per_epoch=2: pass 1 with merge_deltas=False",
        ),
        ({"phase_group_size": 0, "phase_parallel": "on"}, "phase_group_size=0: pass a positive number"),
        ({"phase_group_size": 2}, "phase_group_size=2: pass None, or set phase_parallel to 'on' or 'auto'"),
        ({"sampling_temperature": 0.0}, "sampling_temperature=0.0: pass a positive temperature"),
        ({"method_kwargs": {"no": 1}}, "the method 'alphavil' has no option 'no'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_ranges_and_combinations(settings, message):
    with pytest.raises(ValueError, match=message):
        arguments(**settings)


def test_settings_do_not_import_methods():
    settings = MultitaskSettings("out", use_cpu=True, method="mine", seed=3)
    assert (settings.method, settings.resolved_data_seed) == ("mine", 3)
    assert dataclasses.replace(settings, data_seed=5).resolved_data_seed == 5
    with pytest.raises(ValueError, match="unknown method 'mine'"):
        arguments(method="mine")


def test_command_line_file_and_python_agree(tmp_path):
    given = {
        "target_task": "rte",
        "max_length": 64,
        "alpha_init": "mean",
        "prune_below": 0.2,
        "delta_dtype": "bfloat16",
    }
    made = arguments(**given)
    words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    parsed = parse(*words)
    (read,) = HfArgumentParser(MultitaskTrainingArguments).parse_dict(
        {"output_dir": "out", "use_cpu": True, "alpha_steps": 10} | given
    )
    assert made.to_dict() == parsed.to_dict() == read.to_dict()
    (tmp_path / "args.json").write_text(made.to_json_string(), encoding="utf-8")
    (again,) = HfArgumentParser(MultitaskTrainingArguments).parse_json_file(tmp_path / "args.json")
    assert again.to_dict() == made.to_dict()
    assert parse("--max_seq_length", "32").max_length == 32


def test_copies_and_pickles_keep_every_setting(tmp_path):
    made = arguments(method="forkmerge", method_kwargs='{"branches": [0, 2]}', alpha_init=2, weight_applies_to="loss")
    assert (made.alpha_init, made.resolved_normalize_task_weights) == ("2", "none")
    changed = dataclasses.replace(made, alpha_steps=3)
    assert changed.to_dict() == made.to_dict() | {"alpha_steps": 3}
    torch.save(made, tmp_path / "training_args.bin")
    assert torch.load(tmp_path / "training_args.bin", weights_only=False).to_dict() == made.to_dict()


def test_help_lists_methods_choices_and_defaults():
    said = HfArgumentParser(MultitaskTrainingArguments).format_help()
    assert "{auto,sgd,adam,lbfgs,gradient_free,secant}" in said
    words = " ".join(said.split())
    assert f"one of {', '.join(METHODS)}. (default: alphavil)" in words
