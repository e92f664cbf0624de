"""`add_auxiliaries`: a working `transformers.Trainer` becomes a `MultitaskTrainer`."""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainingArguments
from transformers.integrations import get_reporting_integration_callbacks
from transformers.trainer import DEFAULT_CALLBACKS, DEFAULT_PROGRESS_CALLBACK

from .kinds.features import is_dataset
from .modeling import MultitaskModel
from .modeling.extension import extend_native
from .tasks import Task
from .trainer import MultitaskTrainer
from .training_args import MultitaskTrainingArguments

logger = logging.getLogger(__name__)


def add_auxiliaries(
    trainer: Trainer, auxiliaries: Mapping[str, Any], target: str, **settings: Any
) -> MultitaskTrainer:
    """
    Makes a [`MultitaskTrainer`] of a `transformers.Trainer`: its task becomes the target, which auxiliary tasks help.

    Model, datasets, arguments, collator, metrics, callbacks and processing class are the trainer's. The target keeps
    the very modules of encoder and head, so that the model that you have built is trained too. What cannot be carried
    over is refused or named in a warning.

    Args:
        trainer (`transformers.Trainer`):
            A trainer whose model an Auto class has built, such as `AutoModelForSequenceClassification`.
        auxiliaries (`dict[str, Task | Dataset | DatasetDict]`):
            The auxiliary tasks by name: tasks, raw datasets whose columns say what they are (see
            [`~Task.from_dataset`]), or tokenised ones. `processing_class` tokenises what is raw, to at most
            `max_length` tokens (128).
        target (`str`): A name for the trainer's own task, for logs and metrics (`eval_<target>_accuracy`).
        settings:
            Arguments of [`MultitaskTrainingArguments`], such as `method`. They override the trainer's.

    Returns:
        `MultitaskTrainer`: A trainer that is ready to train. `save_model()` writes the whole multitask model, and
        `export_task(target, folder)` what the given trainer would have written.

    Raises:
        TypeError: If `trainer` is a subclass of `Trainer` that overrides its methods, or a `MultitaskTrainer`; if an
            auxiliary is neither a task nor a dataset of the library `datasets`.
        ValueError: If its model, loss function, optimizer or datasets cannot be carried over, or `target` is the
            name of an auxiliary.

    Example:

    ```python
    >>> trainer = Trainer(model=model, args=args, train_dataset=rows, processing_class=tokenizer)
    >>> trainer = add_auxiliaries(trainer, {"rte": load_tasks("rte")["rte"], "stars": stars}, target="reviews")
    >>> trainer.train()
    ```
    """
    _check_trainer(trainer)
    _check_tasks(auxiliaries, target)
    native: Any = trainer.model
    model = extend_native(native, target, auxiliaries, _problem_type(trainer.train_dataset))
    args = _multitask_args(trainer.args, {**settings, "target_task": target})
    _check_columns(trainer, model, args)
    defaults = _default_callbacks(args)
    kept = trainer.callback_handler.callbacks
    eval_dataset = trainer.eval_dataset
    new = MultitaskTrainer(
        model=model,
        args=args,
        data_collator={target: trainer.data_collator},
        train_dataset={target: trainer.train_dataset, **auxiliaries},
        eval_dataset=None if eval_dataset is None else {target: eval_dataset},
        processing_class=trainer.processing_class,
        compute_metrics=None if trainer.compute_metrics is None else {target: trainer.compute_metrics},
        callbacks=[callback for callback in kept if type(callback) not in defaults],
        optimizer_cls_and_kwargs=trainer.optimizer_cls_and_kwargs,
        preprocess_logits_for_metrics=trainer.preprocess_logits_for_metrics,
    )
    own = [callback for callback in new.callback_handler.callbacks if callback not in kept]
    for removed in defaults - set(map(type, kept)):
        for callback in own:
            if isinstance(callback, removed):
                new.remove_callback(callback)
    return new


def _check_trainer(trainer: Trainer) -> None:
    """Refuses a trainer with behaviour or state that another trainer would not have."""
    if isinstance(trainer, MultitaskTrainer):
        raise TypeError("the trainer is a MultitaskTrainer already: pass all tasks to its constructor")
    if not isinstance(trainer, Trainer):
        raise TypeError(f"expected a transformers.Trainer, got a {type(trainer).__name__}")
    name = type(trainer).__name__
    overridden = {key for cls in type(trainer).__mro__ for key in vars(cls) if cls not in Trainer.__mro__}
    overridden |= set(vars(trainer))
    if lost := sorted(
        key for key in overridden if inspect.isfunction(getattr(Trainer, key, None)) and key != "__init__"
    ):
        raise TypeError(
            f"{name} overrides {', '.join(lost)} of transformers.Trainer, which the new trainer would not do: derive "
            "a class from MultitaskTrainer instead"
        )
    if type(trainer) is not Trainer:
        logger.warning("The new trainer is a MultitaskTrainer: it has none of the methods that %s adds.", name)
    model: Any = trainer.model
    refusals = {
        "its model has adapters: add the auxiliaries first, and put adapters around `trainer.model` in a new "
        "MultitaskTrainer": hasattr(model, "get_base_model") or getattr(model, "_hf_peft_config_loaded", False),
        f"its model is a {type(model).__name__}: pass a model that an Auto class of transformers builds": (
            not isinstance(model, PreTrainedModel) or isinstance(model, MultitaskModel)
        ),
        "it makes its model by `model_init`: pass `model`": trainer.model_init is not None,
        "its optimizer or scheduler is built already, without the new heads: name it in `optim` or "
        "`optimizer_cls_and_kwargs`, or set trainer.optimizer and trainer.lr_scheduler to None": (
            trainer.optimizer is not None or trainer.lr_scheduler is not None
        ),
        "its optimizer_cls_and_kwargs name parameters, without the new heads: leave them out": any(
            key in (trainer.optimizer_cls_and_kwargs or (None, {}))[1] for key in ("params", "model", "optimizer_dict")
        ),
        "its compute_loss_func would compute the losses of the auxiliaries too: let the model compute the loss, or "
        "pass a function that suits all tasks to MultitaskTrainer": trainer.compute_loss_func is not None,
        "it has no train_dataset: pass one": trainer.train_dataset is None,
        "its eval_dataset is a dict, which would name tasks: pass one of its datasets": isinstance(
            trainer.eval_dataset, Mapping
        ),
    }
    for reason, is_so in refusals.items():
        if is_so:
            raise ValueError(f"the trainer cannot get auxiliary tasks, because {reason}")


def _check_tasks(auxiliaries: Mapping[str, Any], target: str) -> None:
    for name, auxiliary in auxiliaries.items():
        if not (isinstance(auxiliary, Task) or is_dataset(auxiliary)):
            raise TypeError(
                f"the auxiliary {name!r} is a {type(auxiliary).__name__}: pass a Task, a `datasets.Dataset` "
                "(`datasets.Dataset.from_list(rows)` makes one) or a `datasets.DatasetDict`"
            )
    if not auxiliaries:
        raise ValueError("there are no auxiliary tasks: pass one or more, as {'name': dataset}")
    if target in auxiliaries:
        raise ValueError(
            f"target={target!r} is the name of an auxiliary: give the trainer's own task another name than "
            f"{', '.join(map(repr, auxiliaries))}"
        )


def _problem_type(rows: Any) -> str | None:
    """What a head's first labels say of its problem type, as transformers' heads decide it in their first batch."""
    row: Any = rows[0] if hasattr(rows, "__getitem__") and len(rows) else {}
    if not isinstance(row, Mapping):
        return None
    label: Any = next((row[name] for name in ("labels", "label") if name in row), None)
    label = label.tolist() if hasattr(label, "tolist") else label
    is_of_flags = isinstance(label, list) and bool(label) and isinstance(label[0], float)
    return "multi_label_classification" if is_of_flags else None


def _multitask_args(args: TrainingArguments, settings: Mapping[str, Any]) -> MultitaskTrainingArguments:
    """The trainer's arguments with their values, and the settings."""
    known = {entry.name for entry in fields(MultitaskTrainingArguments) if entry.init}
    values = {entry.name: getattr(args, entry.name) for entry in fields(args) if entry.init}
    if lost := sorted(values.keys() - known):
        logger.warning(
            "%s: MultitaskTrainingArguments has no %s, so that they are not carried over.",
            type(args).__name__, ", ".join(lost),
        )  # fmt: skip
    kept = {name: copy.deepcopy(value) for name, value in values.items() if name in known}
    return MultitaskTrainingArguments(**{**kept, **settings})


def _check_columns(trainer: Trainer, model: MultitaskModel, args: MultitaskTrainingArguments) -> None:
    """Refuses columns that the given model reads and a multitask model drops."""
    rows: Any = trainer.train_dataset
    columns = getattr(rows, "column_names", None) or ()
    if not args.remove_unused_columns:
        return
    inputs: set[str] = set(inspect.signature(trainer.model.forward).parameters)  # type: ignore[union-attr]
    known = {*inspect.signature(model.forward).parameters, *(args.label_names or ())}
    known |= set(getattr(trainer.processing_class, "model_input_names", ()))
    if dropped := sorted(inputs & set(columns) - known):
        raise ValueError(
            f"{type(trainer.model).__name__} reads the columns {', '.join(dropped)} of the training rows, which a "
            "multitask model drops: pass remove_unused_columns=False, and rows without columns that no model reads"
        )


def _default_callbacks(args: TrainingArguments) -> set[Any]:
    """Classes of the callbacks that a trainer adds by itself."""
    progress = PrinterCallback if args.disable_tqdm else DEFAULT_PROGRESS_CALLBACK
    defaults = {*DEFAULT_CALLBACKS, *get_reporting_integration_callbacks(args.report_to), progress}
    if args.enable_jit_checkpoint:
        from transformers.trainer_jit_checkpoint import JITCheckpointCallback

        defaults.add(JITCheckpointCallback)
    return defaults
