"""What a resumed run may change: the one list of all settings, and the comparison with a checkpoint."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from ..distributed.agreement import first_difference

logger = logging.getLogger(__name__)

# fmt: off
#: A run cannot resume with another value, because its result would be neither run's.
MUST_MATCH = frozenset([
    # The optimizer and its schedule, whose settings are part of the checkpoint
    "learning_rate", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps", "optim", "optim_args",
    "optim_target_modules", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm",
    "label_smoothing_factor", "neftune_noise_alpha",
    # Rows, their order and what the model reads of them
    "seed", "data_seed", "train_sampling_strategy", "length_column_name", "dataloader_drop_last",
    "remove_unused_columns", "label_names", "max_length", "delta_fraction", "max_phase_steps", "joint_fraction",
    "max_auxiliaries_per_epoch", "phase_lengths", "target_phase", "merge_deltas", "rounds_per_epoch",
    "final_target_epochs", "task_sampling", "sampling_temperature", "length_grouping",
    # The choice of the best model: the checkpoint holds the best score
    "metric_for_best_model", "greater_is_better",
    # The method
    "target_task", "regression_scale", "method", "method_kwargs", "phase_optimizer_state", "optimizer_state_dtype",
    "delta_dtype", "alpha_steps",
    "alpha_learning_rate", "alpha_tolerance", "alpha_optimizer", "alpha_objective", "alpha_granularity", "alpha_l1",
    "alpha_l2", "alpha_init", "alpha_min", "alpha_max", "alpha_batch_size", "alpha_data", "alpha_holdout_fraction",
    "alpha_acceptance", "alpha_applies_to", "alpha_autocast", "measure_contributions",
    "weight_applies_to", "task_weights", "min_task_weight", "min_target_weight", "max_task_weight",
    "max_weight_change", "normalize_task_weights", "weight_average", "prune_below", "prune_patience",
])

#: The run goes on with the new value, and a warning says so.
CHANGES_WITH_WARNING = frozenset([
    # The length of the run, which is also that of the schedule. Methods that plan it ahead refuse another one.
    "num_train_epochs", "max_steps",
    # The split of a step's rows. Their number must match.
    "per_device_train_batch_size", "per_device_meta_batch_size", "gradient_accumulation_steps",
    "average_tokens_across_devices",
    # Rounding
    "delta_device",
    "bf16", "fp16", "tf32", "bf16_full_eval", "fp16_full_eval", "torch_compile", "torch_compile_backend",
    "torch_compile_mode", "use_liger_kernel", "liger_kernel_config", "full_determinism",
    # Among which epochs the best model is chosen
    "eval_strategy", "eval_steps", "eval_delay", "load_best_model_at_end",
    # How processes share the model
    "accelerator_config", "parallelism_config", "deepspeed", "fsdp", "fsdp_config",
])

#: The result does not depend on it, or something else that is compared says more.
MAY_CHANGE = frozenset([
    # Places and devices
    "output_dir", "use_cpu", "optimizer_state_device", "local_rank", "save_on_each_node",
    # The settings that a preset fills in are compared
    "alphavil_preset",
    # Processes: the phases that each of them runs are compared
    "phase_parallel", "phase_group_size", "ddp_find_unused_parameters", "ddp_bucket_cap_mb",
    "ddp_broadcast_buffers", "ddp_static_graph", "ddp_backend", "ddp_timeout",
    # Memory: the batch size that is found is compared
    "auto_find_batch_size", "torch_empty_cache_steps", "activation_checkpointing",
    "activation_checkpointing_kwargs", "gradient_checkpointing", "gradient_checkpointing_kwargs", "use_cache",
    # Logs and reports
    "logging_strategy", "logging_steps", "logging_first_step", "log_on_each_node", "logging_nan_inf_filter",
    "log_level", "log_level_replica", "disable_tqdm", "report_to", "run_name", "project", "trackio_space_id",
    "trackio_bucket_id", "trackio_static_space_id", "include_num_input_tokens_seen", "skip_memory_metrics",
    "debug",
    # Checkpoints and the Hub
    "save_strategy", "save_steps", "save_total_limit", "save_only_model", "enable_jit_checkpoint", "push_to_hub",
    "hub_token", "hub_private_repo", "hub_model_id", "hub_strategy", "hub_always_push", "hub_revision",
    "hub_export", "model_card_template",
    "resume_from_checkpoint", "ignore_data_skip", "restore_callback_states_from_checkpoint",
    # How evaluations are computed
    "per_device_eval_batch_size", "prediction_loss_only", "eval_on_start", "eval_do_concat_batches",
    "eval_use_gather_object", "eval_accumulation_steps", "include_for_metrics", "batch_eval_metrics",
    "eval_auxiliaries", "do_train", "do_eval", "do_predict",
    # Loading of rows, whose order does not depend on it
    "dataloader_num_workers", "dataloader_pin_memory", "dataloader_persistent_workers",
    "dataloader_prefetch_factor", "dataloader_multiprocessing_context", "dataloader_in_order",
])
# fmt: on

#: First words of the entries of functions whose values a run may take from the checkpoint.
RESTORED = "arguments of callback"

_MISSING = object()
_MAX_LIST = 200
_MAX_TEXT = 240
_MAX_BEFORE = 80  # of a long text, before what differs
_LENGTH = frozenset({"num_train_epochs", "max_steps"})


def check_resume(
    checkpoint: str,
    theirs: Mapping[str, Mapping[str, Any]],
    mine: Mapping[str, Mapping[str, Any]],
    restores_callbacks: bool = False,
) -> None:
    """
    Compares a run with the one that wrote a checkpoint, before anything is loaded.

    Args:
        checkpoint (`str`): The checkpoint folder.
        theirs (`Mapping`):
            The checkpoint's parts by name: `settings`, `rows`, `model` and `other` of [`run_fingerprint`], `code` of
            [`describe_own_code`] and `environment` of [`describe_environment`].
        mine (`Mapping`): Those of the run that resumes.
        restores_callbacks (`bool`, *optional*, defaults to `False`):
            Whether the run takes the arguments of callbacks from the checkpoint
            (`restore_callback_states_from_checkpoint`).

    Raises:
        ValueError: If something that must match differs. The message lists all of it.
    """
    mine = json.loads(json.dumps(mine))
    found = {part: differences(theirs[part], mine[part]) for part in mine.keys() & theirs.keys()}
    warnings = {part: f"no record of its {part}" for part in mine if part not in theirs}  # by an earlier version
    warnings |= found["other"] | found.get("environment", {})
    problems = dict(found["rows"])
    for part in ("settings", "model"):
        for name, text in found[part].items():
            # Another version of a package may lack an entry.
            is_common = name in theirs[part] and name in mine[part]
            (problems if is_common and name not in CHANGES_WITH_WARNING else warnings)[name] = text
    if problems:
        raise ValueError(
            f"the run cannot resume from {checkpoint}: the checkpoint was written with "
            f"{'; '.join(problems.values())}. Pass what the checkpoint was written with, or start a new run from the "
            "model in that folder, in another `output_dir`"
        )
    if warnings:
        rates = " and learning rates that follow its own length" if warnings.keys() & _LENGTH else ""
        logger.warning(
            f"{checkpoint} was written with {'; '.join(warnings.values())}. The run goes on with its own values"
            f"{rates}, so its result need not be that of a run that was never stopped"
        )
    code = {
        name: text
        for name, text in found.get("code", {}).items()
        if not (restores_callbacks and name.startswith(RESTORED))
    }
    if code:
        logger.warning(
            f"{checkpoint} was written with other functions or classes of your own: {'; '.join(code.values())}. If "
            "they compute something else, the run's result is not that of a run that was never stopped"
        )


def differences(theirs: Mapping[str, Any], mine: Mapping[str, Any]) -> dict[str, str]:
    """
    What differs between a checkpoint and a run, in words, by name. An entry that only one side has differs too.

    Args:
        theirs (`Mapping`): What the checkpoint says.
        mine (`Mapping`): What the run says.
    """
    pairs = {name: (theirs.get(name, _MISSING), mine.get(name, _MISSING)) for name in {**theirs, **mine}}
    return {name: _describe(name, one, other) for name, (one, other) in pairs.items() if one != other}


def _describe(name: str, theirs: Any, mine: Any) -> str:
    if isinstance(theirs, Mapping) and isinstance(mine, Mapping):
        theirs, mine = ({f"{name}.{key}": value for key, value in one.items()} for one in (theirs, mine))
        return "; ".join(differences(theirs, mine).values())
    if isinstance(theirs, list) and isinstance(mine, list) and len(str(theirs)) + len(str(mine)) > _MAX_LIST:
        number, theirs, mine = first_difference(theirs, mine, _MISSING)
        return _describe(f"{name}, number {number}", theirs, mine)
    theirs, mine = ("nothing" if value is _MISSING else str(value) for value in (theirs, mine))
    common = next((number for number, (one, other) in enumerate(zip(theirs, mine, strict=False)) if one != other), 0)
    start = max(0, common - _MAX_BEFORE)
    theirs, mine = (_cut(text, start) if len(text) > _MAX_TEXT else text for text in (theirs, mine))
    return f"{name}={theirs}, this run has {mine}"


def _cut(text: str, start: int) -> str:
    """A part of a long text, from about where another one differs."""
    part = text[start : start + _MAX_TEXT]
    return f"{'...' if start else ''}{part}{'...' if start + len(part) < len(text) else ''}"
