"""What becomes of every field of `TrainingArguments` with several tasks: a table, and a run that shows each entry."""

import warnings
from dataclasses import fields
from pathlib import Path

import pytest
import torch
import transformers
from transformers import TrainingArguments

from hf_alphavil import MultitaskTrainer, MultitaskTrainingArguments
from hf_alphavil.run.progress import PlanProgressCallback
from support.bert_run import TARGET, bert_data, bert_model
from support.toy_run import toy_args, toy_data, toy_model

AS_TRAINER, BY_TASK, REFUSED = "acts as in Trainer", "acts by task", "refused before training"

EPOCH = {"eval_strategy": "epoch"}
SAVE = {"save_strategy": "epoch"}
ADAM = {"optim": "adamw_torch"}
WORKER = {"dataloader_num_workers": 1}
COMPILED = {"torch_compile_backend": "eager"}
BERT = {"model": "bert"}
CHECKPOINTING = BERT | {"activation_checkpointing": True}


# ---- What shows an entry: functions of the trained trainer and of one without the setting


def same(run, other):
    """The setting does not touch the result."""
    return all(torch.equal(a, b) for a, b in zip(run.model.parameters(), other.model.parameters(), strict=True))


def close(run, other):
    pairs = zip(run.model.parameters(), other.model.parameters(), strict=True)
    return all(torch.allclose(a, b, atol=1e-5) for a, b in pairs)


def differs(run, other):
    return not same(run, other)


def logged(key, count):
    return lambda run, other: sum(key in entry for entry in run.state.log_history) == count


def saved(*steps):
    return lambda run, other: (
        [f"checkpoint-{step}" for step in steps]
        == sorted(path.name for path in Path(run.args.output_dir).glob("checkpoint-*"))
    )


def ddp(name, value):
    return lambda run, other: getattr(run.accelerator.ddp_handler, name) == value


def compiled(run, other):
    return run.model.encoder._compiled_call_impl is not None and close(run, other)


def shows_phases(run, other):
    return any(type(callback) is PlanProgressCallback for callback in run.callback_handler.callbacks)


def evaluates_as(dtype):
    def shows(run, other):
        run.evaluate()
        return next(run.model.parameters()).dtype == dtype

    return shows


def fails_as_in_trainer(run, other):
    """In a process that no launcher started, the arguments cannot be made with a backend."""
    said = []
    for arguments in (TrainingArguments, MultitaskTrainingArguments):
        with pytest.raises(ValueError, match="process group") as refused:
            arguments(run.args.output_dir, use_cpu=True, ddp_backend="gloo")
        said.append(str(refused.value))
    return said[0] == said[1]


#: Field: what becomes of it, a value to try (or settings), settings beside it, and what shows it (or the message).
TABLE = {
    "output_dir": (AS_TRAINER, None, {}, lambda run, other: Path(run.args.output_dir).is_dir()),
    "per_device_train_batch_size": (BY_TASK, 4, {}, lambda run, other: run.global_batch_size == 4),
    "num_train_epochs": (BY_TASK, 1.3, {}, lambda run, other: len(run.history) == 2),
    "max_steps": (BY_TASK, 7, {}, lambda run, other: run.state.global_step == 12),
    "learning_rate": (AS_TRAINER, 0.05, {}, differs),
    "lr_scheduler_type": (BY_TASK, "constant", {}, differs),
    "lr_scheduler_kwargs": (BY_TASK, {"num_cycles": 2}, {"lr_scheduler_type": "cosine_with_restarts"}, differs),
    "warmup_steps": (BY_TASK, 2, {}, differs),
    "optim": (BY_TASK, "rmsprop", {}, differs),
    "optim_args": (AS_TRAINER, "momentum=0.9", {}, differs),
    "weight_decay": (AS_TRAINER, 0.5, {}, differs),
    "adam_beta1": (AS_TRAINER, 0.5, ADAM, differs),
    "adam_beta2": (AS_TRAINER, 0.5, ADAM, differs),
    "adam_epsilon": (AS_TRAINER, 0.1, ADAM, differs),
    "optim_target_modules": (AS_TRAINER, "all-linear", {}, same),
    "gradient_accumulation_steps": (BY_TASK, 2, {}, lambda run, other: run.global_batch_size == 16),
    "average_tokens_across_devices": (AS_TRAINER, False, {}, same),
    "max_grad_norm": (AS_TRAINER, 0.01, {}, differs),
    "label_smoothing_factor": (BY_TASK, 0.2, BERT, differs),
    "bf16": (AS_TRAINER, True, BERT, differs),
    "fp16": (REFUSED, True, {}, "fp16=True has no effect on the device 'cpu'"),
    "bf16_full_eval": (AS_TRAINER, True, BERT, evaluates_as(torch.bfloat16)),
    "fp16_full_eval": (AS_TRAINER, True, BERT, evaluates_as(torch.float16)),
    "tf32": (AS_TRAINER, False, {}, same),
    "activation_checkpointing": (AS_TRAINER, True, BERT, close),
    "activation_checkpointing_kwargs": (AS_TRAINER, {"use_reentrant": False}, CHECKPOINTING, close),
    "gradient_checkpointing": (AS_TRAINER, True, BERT, lambda run, other: run.args.activation_checkpointing),
    "gradient_checkpointing_kwargs": (AS_TRAINER, {"use_reentrant": False}, CHECKPOINTING, close),
    "torch_compile": (BY_TASK, True, COMPILED, compiled),
    "torch_compile_backend": (BY_TASK, "eager", {}, compiled),
    "torch_compile_mode": (BY_TASK, "default", COMPILED, compiled),
    "use_liger_kernel": (REFUSED, True, {}, "use_liger_kernel=True: pass False"),
    "liger_kernel_config": (AS_TRAINER, {"rope": True}, {}, same),
    "use_cache": (AS_TRAINER, True, BERT, lambda run, other: run.model.config.use_cache and same(run, other)),
    "neftune_noise_alpha": (AS_TRAINER, 5.0, BERT, differs),
    "torch_empty_cache_steps": (AS_TRAINER, 2, {}, same),
    "auto_find_batch_size": (AS_TRAINER, True, {}, same),
    "logging_strategy": (BY_TASK, "epoch", {}, logged("loss_b", 1)),
    "logging_steps": (BY_TASK, 2, {"logging_strategy": "steps"}, logged("learning_rate", 3)),
    "logging_first_step": (AS_TRAINER, True, {"logging_strategy": "steps"}, logged("learning_rate", 1)),
    "log_on_each_node": (AS_TRAINER, False, {}, same),
    "logging_nan_inf_filter": (AS_TRAINER, False, {}, same),
    "include_num_input_tokens_seen": (BY_TASK, "all", BERT, lambda run, other: run.state.num_input_tokens_seen > 0),
    "log_level": (AS_TRAINER, "error", {}, same),
    "log_level_replica": (AS_TRAINER, "error", {}, same),
    "disable_tqdm": (BY_TASK, False, {}, shows_phases),
    "report_to": (AS_TRAINER, "none", {}, lambda run, other: run.args.report_to == []),
    "run_name": (AS_TRAINER, "name", {}, same),
    "project": (AS_TRAINER, "name", {}, same),
    "trackio_space_id": (AS_TRAINER, "me/space", {}, same),
    "trackio_bucket_id": (AS_TRAINER, "me/bucket", {}, same),
    "trackio_static_space_id": (AS_TRAINER, "me/static", {}, same),
    "eval_strategy": (BY_TASK, "epoch", {}, logged("eval_a_loss", 1)),
    "eval_steps": (BY_TASK, 2, {"eval_strategy": "steps"}, logged("eval_a_loss", 1)),
    "eval_delay": (AS_TRAINER, 5, EPOCH, logged("eval_a_loss", 0)),
    "per_device_eval_batch_size": (
        AS_TRAINER, 3, {}, lambda run, other: run.get_eval_dataloader().total_batch_size == 3
    ),
    "prediction_loss_only": (AS_TRAINER, True, EPOCH, logged("eval_a_accuracy", 0)),
    "eval_on_start": (AS_TRAINER, True, EPOCH, logged("eval_a_loss", 2)),
    "eval_do_concat_batches": (REFUSED, False, {}, "eval_do_concat_batches=False: pass True"),
    "eval_use_gather_object": (AS_TRAINER, True, EPOCH, logged("eval_a_accuracy", 1)),
    "eval_accumulation_steps": (AS_TRAINER, 2, EPOCH, logged("eval_a_accuracy", 1)),
    "include_for_metrics": (AS_TRAINER, ["loss"], EPOCH, logged("eval_a_losses", 1)),
    "batch_eval_metrics": (REFUSED, True, {}, "batch_eval_metrics=True: pass False"),
    "save_only_model": (
        AS_TRAINER, True, SAVE, lambda run, other: not list(Path(run.args.output_dir).glob("*/optimizer.pt"))
    ),
    "save_strategy": (BY_TASK, "epoch", {}, saved(6)),
    "save_steps": (BY_TASK, 4, {"save_strategy": "steps"}, saved(4, 6)),
    "save_on_each_node": (AS_TRAINER, True, SAVE, saved(6)),
    "save_total_limit": (AS_TRAINER, 1, {"save_strategy": "steps", "save_steps": 2}, saved(6)),
    "enable_jit_checkpoint": (BY_TASK, True, {}, lambda run, other: run._preemption is not None and same(run, other)),
    "push_to_hub": (AS_TRAINER, True, {}, lambda run, other: run.hub_model_id == "made by init_hf_repo"),
    "hub_token": (AS_TRAINER, "token", {}, same),
    "hub_private_repo": (AS_TRAINER, True, {}, same),
    "hub_model_id": (AS_TRAINER, "me/model", {}, same),
    "hub_strategy": (AS_TRAINER, "end", {}, same),
    "hub_always_push": (AS_TRAINER, True, {}, same),
    "hub_revision": (AS_TRAINER, "branch", {}, same),
    "load_best_model_at_end": (
        BY_TASK, True, EPOCH | SAVE, lambda run, other: run.state.best_metric == run.evaluate()["eval_a_loss"]
    ),
    "metric_for_best_model": (
        BY_TASK, "accuracy", EPOCH, lambda run, other: run.args.metric_for_best_model == "eval_a_accuracy"
    ),
    "greater_is_better": (
        BY_TASK, False, {"metric_for_best_model": "accuracy"}, lambda run, other: run.args.greater_is_better is False
    ),
    "ignore_data_skip": (REFUSED, True, {}, "ignore_data_skip would resume the epoch's plan at its start"),
    "restore_callback_states_from_checkpoint": (AS_TRAINER, True, {}, same),
    "full_determinism": (AS_TRAINER, True, {}, same),
    "seed": (BY_TASK, 7, {}, differs),
    "data_seed": (BY_TASK, 7, {}, differs),
    "use_cpu": (AS_TRAINER, True, {}, lambda run, other: run.args.device.type == "cpu"),
    "accelerator_config": (AS_TRAINER, {"even_batches": False}, {}, same),
    "parallelism_config": (REFUSED, {"tp_size": 2}, {}, "parallelism_config=.*: pass None"),
    "dataloader_drop_last": (REFUSED, True, {}, "dataloader_drop_last=True: pass False"),
    "dataloader_num_workers": (AS_TRAINER, 1, {}, same),
    "dataloader_pin_memory": (AS_TRAINER, False, {}, same),
    "dataloader_persistent_workers": (AS_TRAINER, True, WORKER, same),
    "dataloader_prefetch_factor": (AS_TRAINER, 1, WORKER, same),
    "dataloader_multiprocessing_context": (AS_TRAINER, "fork", WORKER, same),
    "dataloader_in_order": (AS_TRAINER, False, WORKER, same),
    "remove_unused_columns": (BY_TASK, False, {}, same),
    "label_names": (BY_TASK, ["labels"], {}, same),
    "train_sampling_strategy": (REFUSED, "sequential", {}, "train_sampling_strategy='sequential': pass 'random' or"),
    "length_column_name": (AS_TRAINER, "len", {}, same),
    "ddp_find_unused_parameters": (REFUSED, False, {"processes": 2}, "ddp_find_unused_parameters=False: pass True"),
    "ddp_static_graph": (REFUSED, True, {"processes": 2}, "ddp_static_graph=True: pass False or None"),
    "ddp_bucket_cap_mb": (AS_TRAINER, 7, {}, ddp("bucket_cap_mb", 7)),
    "ddp_broadcast_buffers": (AS_TRAINER, False, {}, ddp("broadcast_buffers", False)),
    "ddp_backend": (AS_TRAINER, None, {}, fails_as_in_trainer),
    "ddp_timeout": (AS_TRAINER, 60, {}, lambda run, other: run.args.ddp_timeout_delta.total_seconds() == 60),
    "fsdp": (REFUSED, "full_shard", {}, "Using fsdp only works in distributed training"),
    "fsdp_config": (AS_TRAINER, {"min_num_params": 1}, {}, same),
    "deepspeed": (REFUSED, "zero3.json", {}, "DeepSpeed is not supported"),
    "debug": (AS_TRAINER, "underflow_overflow", {}, same),
    "skip_memory_metrics": (AS_TRAINER, False, {}, same),
    # Trainer does not read these; scripts do.
    "do_train": (AS_TRAINER, True, {}, same),
    "do_eval": (AS_TRAINER, True, {}, same),
    "do_predict": (AS_TRAINER, True, {}, same),
    "resume_from_checkpoint": (AS_TRAINER, "folder", {}, same),
    "local_rank": (AS_TRAINER, 0, {}, same),
}  # fmt: skip


def metrics(prediction):
    scores = {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}
    return scores | ({"losses": len(prediction.losses)} if prediction.losses is not None else {})


def made(folder, model="toy", **settings):
    train, meta = toy_data() if model == "toy" else bert_data()
    defaults = {"num_train_epochs": 1, "max_phase_steps": 2, "alpha_steps": 2}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of deprecated names
        return MultitaskTrainer(
            model=toy_model() if model == "toy" else bert_model(),
            args=toy_args(folder, **defaults | settings),
            train_dataset=train,
            eval_dataset={TARGET: meta},
            compute_metrics=metrics,
        )


def trained(folder, **settings):
    trainer = made(folder, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.train()
    return trainer


@pytest.fixture(scope="module")
def run_without(tmp_path_factory):
    """Returns a function from settings to a trained trainer, which is the same for the same settings."""
    runs = {}

    def run(settings):
        key = repr(sorted(settings.items()))
        if key not in runs:
            runs[key] = trained(tmp_path_factory.mktemp("without"), **settings)
        return runs[key]

    return run


@pytest.fixture(autouse=True)
def as_before():
    """Puts back what some settings change in the whole process."""
    verbosity = transformers.logging.get_verbosity()
    yield
    transformers.logging.set_verbosity(verbosity)
    torch.use_deterministic_algorithms(False)
    torch._dynamo.reset()


def test_the_table_has_every_field():
    assert sorted(TABLE) == sorted(entry.name for entry in fields(TrainingArguments))
    assert {verdict for verdict, *_ in TABLE.values()} == {AS_TRAINER, BY_TASK, REFUSED}


@pytest.mark.parametrize("name", [name for name, entry in TABLE.items() if entry[0] != REFUSED])
def test_a_field_acts(name, run_without, tmp_path, monkeypatch):
    _, value, beside, shows = TABLE[name]
    monkeypatch.setattr(
        MultitaskTrainer, "init_hf_repo", lambda self, *_: setattr(self, "hub_model_id", "made by init_hf_repo")
    )
    monkeypatch.setenv("WANDB_DISABLED", "true")
    run = trained(tmp_path, **beside, **{} if value is None else {name: value})
    assert shows(run, run_without(beside))


@pytest.mark.parametrize("name", [name for name, entry in TABLE.items() if entry[0] == REFUSED])
def test_a_field_is_refused(name, tmp_path, monkeypatch):
    _, value, beside, message = TABLE[name]
    if "processes" in beside:
        monkeypatch.setattr(MultitaskTrainingArguments, "world_size", beside["processes"])
        beside = {}
    with pytest.raises(ValueError, match=message):
        made(tmp_path, **{name: value}, **beside).train()
