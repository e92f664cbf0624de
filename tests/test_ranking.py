"""Ranking of candidate auxiliaries: effects equal a straight line, in the order, words and names that it promises."""

import json
import math
from dataclasses import fields

import numpy as np
import pytest
import torch
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from hf_alphavil.ranking import COST, DIVERGED, SAVED, AuxiliaryRanking, unread_by_rankings
from hf_alphavil.reporting.verdicts import NO_EFFECT, Verdict
from reference.straight_line import derive_seed, sgd_step, take, task_gradient
from support.forking import fork_runs
from support.ranked_run import PROBE_STEPS, ROUNDS, TARGET_STEPS, rank_toy, ranking_of_toy
from support.toy_run import SIZES, TARGET, toy_data, toy_model

ROWS = 8


def straight_line_effects():
    """By task, what its probes save each row of the meta set over all rounds, with SGD at a constant rate."""
    model = toy_model()
    train, meta = toy_data()
    theta0 = {name: p.detach().clone() for name, p in model.named_parameters()}
    effects = dict.fromkeys(SIZES, 0.0)
    for epoch in range(ROUNDS):

        def trained(theta, task, first, steps, epoch=epoch):
            seed = derive_seed(42, epoch, task, "rows")
            rows = torch.randperm(SIZES[task], generator=torch.Generator().manual_seed(seed)).tolist()
            for step in range(first, first + steps):
                batch = [rows[i % len(rows)] for i in range(step * ROWS, (step + 1) * ROWS)]
                theta = sgd_step(theta, task_gradient(model, theta, task, take(train[task], batch)), {}, 0.1, 0.0, 0.0)
            return theta

        theta0 = trained(theta0, TARGET, 0, TARGET_STEPS)
        delta = {}
        for task in SIZES:
            ended = trained(theta0, task, TARGET_STEPS if task == TARGET else 0, PROBE_STEPS)
            delta[task] = {name: ended[name] - theta0[name] for name in theta0}

        def losses(*deltas, start=theta0):
            theta = {name: p + sum((of[name] for of in deltas), torch.zeros_like(p)) for name, p in start.items()}
            rows = take(meta, range(len(meta)))
            logits = functional_call(model, theta, (TARGET,), {"x": rows["x"]})["logits"]
            return cross_entropy(logits, rows["labels"], reduction="none").detach().numpy()

        own = losses(delta[TARGET])
        for task in SIZES:
            saved = losses() - own if task == TARGET else own - losses(delta[TARGET], delta[task])
            effects[task] = effects[task] + saved
    return effects, own.mean(), theta0


def assert_equals_the_straight_line(ranking):
    effects, loss, theta0 = straight_line_effects()
    assert ranking["held_out_loss"] == pytest.approx(loss, abs=1e-6)
    assert ranking["rows"] == len(effects[TARGET])
    found = ranking["effects"] | {TARGET: ranking["target_effect"]}
    for task, of_rows in effects.items():
        assert found[task]["contribution"] == pytest.approx(of_rows.mean(), abs=1e-6), task
        error = of_rows.std(ddof=1) / math.sqrt(len(of_rows))
        assert found[task]["half_width"] == pytest.approx(2.0227 * error, rel=1e-4)  # t, 39 degrees of freedom, 97.5 %
    assert list(ranking["effects"]) == sorted(("b", "c"), key=lambda task: -np.mean(effects[task]))
    return theta0


def test_effects_equal_the_straight_line(tmp_path):
    ranking, model, args = rank_toy(tmp_path)
    theta0 = assert_equals_the_straight_line(ranking.to_dict())
    for name, p in model.named_parameters():  # the target's steps stay, the probes are undone
        assert torch.allclose(p, theta0[name], atol=1e-6)
    assert (args.lr_scheduler_type, args.num_train_epochs) == ("linear", 3)  # the user's arguments stay
    assert not list(tmp_path.glob("*"))


@pytest.mark.distributed
@pytest.mark.parametrize("config", ["ddp", "fsdp2"])
def test_two_processes_equal_the_straight_line(config, tmp_path):
    run = {"output_dir": str(tmp_path), "per_device_train_batch_size": ROWS // 2}
    (ranking,) = fork_runs(ranking_of_toy, [run], config, 2)
    assert_equals_the_straight_line(ranking)


def test_a_candidate_that_diverges_comes_last_and_a_target_that_does_is_an_error(tmp_path):
    ranking, _, _ = rank_toy(tmp_path, poisoned="b")
    assert list(ranking.effects) == ["c", "b"]
    assert ranking.effects["b"].words == DIVERGED
    assert json.loads(json.dumps(ranking.to_dict()))["effects"]["b"]["contribution"] is None
    assert ranking.table().splitlines()[-1].split()[-1] == "-"
    with pytest.raises(ValueError, match=f"the probe of the target '{TARGET}' diverged: lower learning_rate"):
        rank_toy(tmp_path, poisoned=TARGET)


#: What a ranking reads, or the trainer refuses.
READ = {
    "output_dir", "per_device_train_batch_size", "learning_rate", "optim", "optim_args", "weight_decay",
    "adam_beta1", "adam_beta2", "adam_epsilon", "optim_target_modules", "gradient_accumulation_steps",
    "average_tokens_across_devices", "max_grad_norm", "label_smoothing_factor", "bf16", "fp16", "tf32",
    "activation_checkpointing", "activation_checkpointing_kwargs", "gradient_checkpointing",
    "gradient_checkpointing_kwargs", "torch_compile", "torch_compile_backend", "torch_compile_mode",
    "use_liger_kernel", "liger_kernel_config", "use_cache", "neftune_noise_alpha", "torch_empty_cache_steps",
    "auto_find_batch_size", "logging_strategy", "logging_steps", "logging_first_step", "log_on_each_node",
    "logging_nan_inf_filter", "include_num_input_tokens_seen", "log_level", "log_level_replica", "disable_tqdm",
    "report_to", "run_name", "project", "trackio_space_id", "trackio_bucket_id", "trackio_static_space_id",
    "full_determinism", "seed", "data_seed", "use_cpu", "accelerator_config", "parallelism_config",
    "dataloader_drop_last", "dataloader_num_workers", "dataloader_pin_memory", "dataloader_persistent_workers",
    "dataloader_prefetch_factor", "dataloader_multiprocessing_context", "dataloader_in_order",
    "remove_unused_columns", "label_names", "train_sampling_strategy", "length_column_name",
    "ddp_find_unused_parameters", "ddp_bucket_cap_mb", "ddp_broadcast_buffers", "ddp_static_graph", "ddp_backend",
    "ddp_timeout", "fsdp", "fsdp_config", "deepspeed", "debug", "skip_memory_metrics", "local_rank", "target_task",
    "max_length", "regression_scale", "alphavil_preset", "length_grouping", "alpha_data", "alpha_holdout_fraction",
    "per_device_meta_batch_size", "delta_device", "delta_dtype", "delta_fraction",
}  # fmt: skip
OTHERS = {
    "method_kwargs": {}, "lr_scheduler_kwargs": {"a": 1}, "warmup_steps": 5, "do_predict": True, "eval_delay": 1,
    "max_phase_steps": 1, "optimizer_state_dtype": "bfloat16", "joint_fraction": 0.5,
    "alpha_objective": "metric", "alpha_applies_to": "encoder", "alpha_optimizer": "gradient_free",
    "alpha_init": "0.5", "alpha_min": 0.5, "alpha_max": 0.7, "alpha_l2": 1.0, "alpha_batch_size": 3,
    "alpha_acceptance": "held_out", "measure_contributions": False, "min_task_weight": 0.4, "task_weights": {"b": 2.0},
    "rounds_per_epoch": 2, "target_phase": "last", "task_sampling": "uniform", "max_steps": 7,
    "eval_auxiliaries": True, "prune_below": 0.5, "final_target_epochs": 1, "metric_for_best_model": "accuracy",
    "save_steps": 3, "hub_model_id": "someone/model",
}  # fmt: skip


def test_settings_that_a_ranking_does_not_read_are_told_and_change_nothing(tmp_path, caplog):
    expected, _, _ = rank_toy(tmp_path / "plain")
    caplog.clear()
    ranking, _, args = rank_toy(tmp_path / "others", **OTHERS)
    assert ranking.to_dict() == expected.to_dict()
    (told,) = [record.getMessage() for record in caplog.records if "no effect" in record.getMessage()]
    assert all(f"{name}={value!r}" in told for name, value in OTHERS.items() if name != "method_kwargs")
    assert args.given.keys() >= OTHERS.keys()  # the user's arguments stay
    names = {entry.name for entry in fields(args)}
    assert names - unread_by_rankings() == READ
    assert not unread_by_rankings() - names
    assert not unread_by_rankings() & READ


def test_labels_of_test_rows_are_not_read(tmp_path):
    with pytest.raises(ValueError, match="alpha_data='test': pass rows whose labels may be read"):
        rank_toy(tmp_path, alpha_data="test", alpha_objective="entropy")


def test_names_and_table():
    effects = {
        "x": Verdict(SAVED, 0.5, 0.1),
        "y": Verdict(NO_EFFECT, 0.0, 0.01),
        "z": Verdict(COST, -0.5, 0.1),
        "nan": Verdict(DIVERGED, math.nan, None),
    }
    ranking = AuxiliaryRanking("rte", effects, Verdict(SAVED, 1.0, 0.25), 0.75, 64, 10, 5, 4)
    assert ranking.top(1) == ["x"]
    assert ranking.top(9) == ["x", "y"]
    assert ranking.table().splitlines() == [
        "rte: what 5 steps of each task save beside 5 of its own, of a loss of 0.750 on 64 held-out rows (sum of 4 "
        "rounds, each after 10 steps of rte)",
        "",
        "task                               effect        loss saved",
        "------------  ---------------------------  ----------------",
        "rte (target)                   saved loss  +1.000 +/- 0.250",
        "x                              saved loss  +0.500 +/- 0.100",
        "y                         no clear effect  +0.000 +/- 0.010",
        "z                               cost loss  -0.500 +/- 0.100",
        "nan           loss became NaN or infinite                 -",
    ]


@pytest.mark.parametrize("steps", [{"target_steps": 0}, {"probe_steps": 1.5}, {"rounds": 0}])
def test_steps_that_cannot_be_are_refused(tmp_path, steps):
    ((name, value),) = steps.items()
    with pytest.raises(ValueError, match=f"{name}={value}: pass a positive whole number"):
        rank_toy(tmp_path, **steps)
