"""Checks of Trainer's own settings that would otherwise fail late, or have no effect, with several tasks."""

from __future__ import annotations

import json
import math
from numbers import Integral, Real
from typing import Any

from transformers import TrainingArguments
from transformers.utils.logging import log_levels

from .checks import require

#: The seeds that NumPy's generators take.
MAX_SEED = 2**32 - 1
#: The largest batch, in rows, and the most batches of a step: an epoch's plan lists them.
MAX_COUNT = 2**20
LOG_LEVELS = ("passive", *log_levels)
#: The field's name in this version of transformers, which renamed it between 5.17 and 5.23.
CHECKPOINTING = next(
    name for name in ("activation_checkpointing", "gradient_checkpointing") if hasattr(TrainingArguments, name)
)


def check_trainer_fields(args: TrainingArguments) -> None:
    """
    Refuses values of Trainer's settings that cannot train several tasks.

    Trainer accepts most of them and fails in the middle of a run, or ignores them here, because the epoch's plan
    chooses the rows of every batch.

    Args:
        args (`TrainingArguments`): The settings.

    Raises:
        ValueError: If a value is not allowed; the message names the field, the value and what to pass instead.
    """
    for name in ("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"):
        valid = _is_count(getattr(args, name)) and getattr(args, name) <= MAX_COUNT
        require(args, name, valid, f"a whole number of 1 or more, and at most {MAX_COUNT}")
    accumulation = args.eval_accumulation_steps
    require(args, "eval_accumulation_steps", accumulation is None or _is_count(accumulation), "1 or more, or None")
    epochs, rate, norm = args.num_train_epochs, args.learning_rate, args.max_grad_norm
    require(args, "num_train_epochs", _is_number(epochs), "a finite number of epochs")
    require(args, "learning_rate", _is_number(rate) and rate >= 0, "a finite number of 0 or more")
    clips = _is_number(norm, infinite=True) and norm >= 0
    require(args, "max_grad_norm", clips, "a number of 0 or more; 0.0 turns clipping off")
    decay, smoothing, noise = args.weight_decay, args.label_smoothing_factor, args.neftune_noise_alpha
    require(args, "weight_decay", _is_number(decay) and decay >= 0, "a finite number of 0 or more")
    warmup = args.warmup_steps
    require(args, "warmup_steps", _is_number(warmup) and warmup >= 0, "0 or more steps, or a share below 1")
    for name in ("adam_beta1", "adam_beta2"):
        beta = getattr(args, name)
        require(args, name, _is_number(beta) and 0 <= beta < 1, "a share from 0 to less than 1")
    epsilon = args.adam_epsilon
    require(args, "adam_epsilon", _is_number(epsilon) and epsilon >= 0, "a finite number of 0 or more")
    smooths = _is_number(smoothing) and 0 <= smoothing < 1
    require(args, "label_smoothing_factor", smooths, "a share from 0 to less than 1")
    noisy = noise is None or (_is_number(noise) and noise >= 0)
    require(args, "neftune_noise_alpha", noisy, "a finite number of 0 or more, or None")
    workers, limit = args.dataloader_num_workers, args.save_total_limit
    require(args, "dataloader_num_workers", _is_whole(workers) and workers >= 0, "a whole number of 0 or more")
    require(args, "save_total_limit", limit is None or _is_count(limit), "1 or more, or None to keep all checkpoints")
    for name in ("seed", "data_seed"):
        seed = getattr(args, name)
        valid = (seed is None and name == "data_seed") or (_is_whole(seed) and 0 <= seed <= MAX_SEED)
        require(args, name, valid, "a whole number from 0 to 2**32 - 1")
    steps = args.max_steps
    require(args, "max_steps", _is_number(steps) and steps == int(steps), "a whole number of steps, or -1")
    for name in ("log_level", "log_level_replica"):
        require(args, name, getattr(args, name) in LOG_LEVELS, f"one of {', '.join(LOG_LEVELS)}")
    options = (args.optim_args or "").split(",")
    require(args, "optim_args", options == [""] or all("=" in option for option in options), "'name=value,name=value'")
    _check_intervals(args)
    _refuse_without_effect(args)


def check_json_fields(args: TrainingArguments) -> None:
    """
    Checks the JSON that a command line passes for a mapping. The errors of Trainer do not name the field.

    Args:
        args (`TrainingArguments`): The settings, before Trainer reads them.

    Raises:
        ValueError: If a text in curly brackets is not JSON. The message names the field.
    """
    for name in args._VALID_DICT_FIELDS:
        value = getattr(args, name)
        try:
            if isinstance(value, str) and value.startswith("{"):
                json.loads(value)
        except (ValueError, RecursionError) as error:
            require(args, name, False, f"""JSON of options by name, such as '{{"name": 1}}' ({error})""")


def _check_intervals(args: TrainingArguments) -> None:
    """Refuses intervals at which nothing happens, which Trainer ignores or replaces."""
    for what in ("logging", "eval", "save"):
        name, strategy = f"{what}_steps", getattr(args, f"{what}_strategy")
        # Trainer replaces an `eval_steps` of 0.
        steps = getattr(args, "given", {}).get(name, getattr(args, name))
        valid = strategy != "steps" or steps is None or (_is_number(steps) and steps > 0)
        if not valid:
            raise ValueError(f"{name}={steps!r}: pass 1 or more steps, a share below 1, or {what}_strategy='no'")
    require(args, "eval_delay", args.eval_delay is None or args.eval_delay >= 0, "0 or more")
    for name in (f"{CHECKPOINTING}_kwargs", "lr_scheduler_kwargs"):
        value = getattr(args, name)
        require(args, name, value is None or isinstance(value, dict), """JSON of options by name, '{"name": 1}'""")


def _refuse_without_effect(args: TrainingArguments) -> None:
    require(
        args,
        "train_sampling_strategy",
        args.train_sampling_strategy in ("random", "group_by_length"),
        "'random' or 'group_by_length': with several tasks the method's plan chooses the rows of every batch",
    )
    require(
        args,
        "dataloader_drop_last",
        not args.dataloader_drop_last,
        "False, or leave it out: with several tasks training batches are always full, and it would drop rows of "
        "evaluations and predictions",
    )
    require(
        args,
        "dataloader_in_order",
        args.dataloader_in_order or args.dataloader_num_workers < 2,
        "True, or at most one worker: the method's plan needs its batches in order",
    )
    require(
        args,
        "load_best_model_at_end",
        not args.load_best_model_at_end or args.save_strategy != "no",
        "it together with save_strategy and eval_strategy: without checkpoints there is none to load",
    )
    require(
        args,
        "use_liger_kernel",
        not args.use_liger_kernel,
        "False: Liger's kernels replace the forward pass of language models, not of tasks' heads",
    )
    require(
        args,
        "parallelism_config",
        args.parallelism_config is None,
        "None: launch with DDP (configs/ddp.yaml) or FSDP2 (configs/fsdp2.yaml)",
    )


def check_ddp_fields(args: TrainingArguments, num_trained: int) -> None:
    """
    Refuses settings of DDP that need the same parameters in every step.

    Args:
        args (`TrainingArguments`): The settings.
        num_trained (`int`): Number of tasks that are trained.

    Raises:
        ValueError: If a value is not allowed.
    """
    if args.world_size == 1 or num_trained < 2:
        return
    why = "a step uses only the head of its task, so other heads are unused"
    require(args, "ddp_find_unused_parameters", args.ddp_find_unused_parameters is not False, f"True or None: {why}")
    require(args, "ddp_static_graph", not args.ddp_static_graph, f"False or None: {why}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_whole(value) and value >= 1


def _is_number(value: Any, infinite: bool = False) -> bool:
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    return not math.isnan(value) and (infinite or math.isfinite(value))
