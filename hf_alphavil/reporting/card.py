"""What the card and the page say of a trainer's run beside its history, and the card."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..kinds import kind_of
from ..methods import METHODS, Method
from ..methods.options import read_options
from ..modeling import MultitaskModel, unwrap_peft
from ..settings.changed import changed_fields
from ..setup.best_metric import owner_of, tasks_of_best_metric
from ..setup.unused_settings import unread_settings
from ..tasks.majority import majority_scores
from .cost import cost_of, machine_of, peak_memory
from .effective import effective_settings
from .encoder_name import encoder_in_words
from .facts import RunFacts, with_rows
from .history import best_was_loaded, trains_target_alone
from .local_paths import is_hub_id, without_local_paths
from .model_card import CardTask, write_model_card
from .scores import CardScore

if TYPE_CHECKING:
    from transformers import TrainerState

    from ..settings import MultitaskSettings
    from ..setup.task_setup import TaskSetup

#: Values that Trainer logs in an evaluation besides scores.
NOT_SCORES = ("loss", "runtime", "samples_per_second", "steps_per_second", "model_preparation_time")

#: Marks the log of an evaluation of other rows than the trainer's validation sets.
OTHER_ROWS = "other_rows"

#: Settings that a reader needs to reproduce the run.
SETTINGS = (
    "learning_rate",
    "num_train_epochs",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "optim",
    "lr_scheduler_type",
    "regression_scale",
    "seed",
)
#: Settings of multitask training. A card lists those that the method reads.
MULTITASK_SETTINGS = (
    "delta_fraction",
    "phase_optimizer_state",
    "task_sampling",
    "weight_applies_to",
    "alpha_data",
    "alpha_steps",
    "alpha_learning_rate",
    "alpha_tolerance",
    "alpha_optimizer",
    "alpha_objective",
    "alpha_granularity",
    "alpha_l1",
    "alpha_l2",
    "alpha_init",
    "alpha_batch_size",
    "alpha_autocast",
    "measure_contributions",
    "min_task_weight",
    "min_target_weight",
    "weight_average",
    "prune_below",
    "prune_patience",
    "phase_lengths",
    "joint_fraction",
    "target_phase",
    "merge_deltas",
    "rounds_per_epoch",
    "final_target_epochs",
)


def settings_of(method: type[Method]) -> tuple[str, ...]:
    """
    Lists the training arguments that affect a method and that a reader needs to reproduce its run.

    Args:
        method (`type[Method]`): The method.
    """
    unread = unread_settings(method)
    return SETTINGS + tuple(name for name in MULTITASK_SETTINGS if name not in unread)


def last_scores(log_history: list[dict[str, Any]], tasks: list[str], best_step: int | None = None) -> list[CardScore]:
    """
    Collects the last validation scores of every task from Trainer's log.

    Args:
        log_history (`list[dict]`): `trainer.state.log_history`.
        tasks (`list[str]`): Tasks to look for.
        best_step (`int`, *optional*):
            The step of the best model, if that was loaded at the end of training. Scores of other models, from
            training's other steps, do not count.

    Returns:
        `list[CardScore]`: The scores. Evaluations of other rows than the validation sets have none.
    """
    ends = [number for number, entry in enumerate(log_history) if "train_runtime" in entry]
    training = ends[-1] if ends and best_step is not None else 0
    last_step = max((entry.get("step", 0) for entry in log_history), default=0) if best_step is None else 0
    scores: dict[tuple[str, str], CardScore] = {}
    for number, entry in enumerate(log_history):
        if (number < training and entry.get("step") != best_step) or OTHER_ROWS in entry:
            continue
        step = entry["step"] if entry.get("step", last_step) < last_step else None
        for key, value in entry.items():
            task = owner_of(key.removeprefix("eval_"), tasks) if key.startswith("eval_") else None
            if task is not None and (metric := key.removeprefix(f"eval_{task}_")) not in NOT_SCORES:
                scores[task, metric] = CardScore(task, "validation", metric, value, step=step)
    return list(scores.values())


def scores_of(setup: TaskSetup, log_history: list[dict[str, Any]], best_step: int | None = None) -> list[CardScore]:
    """
    The last validation scores of every task, with numbers of rows and the scores of the most frequent labels.

    Args:
        setup (`TaskSetup`): The run's tasks.
        log_history (`list[dict]`): `trainer.state.log_history`.
        best_step (`int`, *optional*): As in [`last_scores`].
    """
    scores = last_scores(log_history, list(setup.names), best_step)
    tasks = [_card_task(setup, name) for name in dict.fromkeys(score.task for score in scores)]
    eval_rows = {name: len(rows) for name, rows in setup.eval_datasets.items()}
    majority = {task.name: _majority_scores(setup, task) for task in tasks}
    return [
        replace(score, majority=majority[score.task].get(score.metric))
        if score.rows is not None or not setup.has_own_metrics(score.task)
        else score
        for score in with_rows(scores, tasks, eval_rows)
    ]


def run_facts(
    args: MultitaskSettings,
    setup: TaskSetup,
    history: list[dict[str, Any]],
    state: TrainerState,
    model: Any,
    model_name: str | None = None,
    base_model: str | None = None,
) -> RunFacts:
    """
    Collects what the card and the page say of a run beside its history.

    Args:
        args (`MultitaskSettings`): The run's settings.
        setup (`TaskSetup`): The run's tasks.
        history (`list[dict]`): `trainer.history`.
        state (`TrainerState`): `trainer.state`.
        model (`torch.nn.Module`): The bare model. The card gives the name of its encoder.
        model_name (`str`, *optional*): Defaults to the output folder's name.
        base_model (`str`, *optional*): The encoder. Defaults to the one that the model was built from.
    """
    target = setup.target
    names = list(setup.train_datasets) or [target]
    method = METHODS[args.method]
    effective = effective_settings(args, history, state.train_batch_size)
    values = args.to_dict() | effective
    chosen = read_options(method.Options, args.method_kwargs, method.name)
    options = {f"method_kwargs.{name}": value for name, value in asdict(chosen).items()}
    changed_options = {f"method_kwargs.{name}": value for name, value in changed_fields(chosen).items()}
    # A run may end before its first epoch does.
    best_step = state.best_global_step
    is_best = best_was_loaded(history) or bool(not history and args.load_best_model_at_end and best_step)
    scores = scores_of(setup, state.log_history, best_step if is_best else None)
    changed = args.changed() | dict(args.script_settings)
    changed |= {name: value for name, value in effective.items() if name in changed}
    settings = {name: values[name] for name in settings_of(method)} | changed
    for listed in (settings, changed):
        if "model_name_or_path" in listed:
            listed["model_name_or_path"] = encoder_in_words(listed["model_name_or_path"])
        listed.pop("method_kwargs", None)  # listed as options
    # Tasks that were trained, then those that were only scored, such as MNLI's mismatched set.
    tasks = [_card_task(setup, name) for name in dict.fromkeys([*names, *(score.task for score in scores)])]
    processes = {"processes": args.world_size}
    cost = cost_of(state.log_history, peak_memory())
    return RunFacts(
        model_name=model_name or Path(str(args.output_dir)).resolve().name,
        target=target,
        method=args.method,
        tasks=tasks,
        scores=scores,
        alpha_data=args.alpha_data if method.needs_meta_set else None,
        meta_use=method.meta_use,
        meta_rows=len(setup.meta_set) if setup.meta_set is not None else None,
        meta_rows_trained_in_the_end=any(map(trains_target_alone, history)),
        selected_on="validation" if is_best else None,
        selected_tasks=tasks_of_best_metric(args, setup) if is_best else None,
        base_model=base_model or _base_model(model),
        training=without_local_paths(settings | options | processes),
        changed=without_local_paths(changed | changed_options | (processes if args.world_size > 1 else {})),
        cost=cost | machine_of(args.device, args.world_size) if cost else {},
    )


def write_run_card(output_dir: Path, facts: RunFacts, history: list[dict[str, Any]], **metadata: Any) -> Path:
    """
    Writes `README.md` into a run's output folder.

    Args:
        output_dir (`Path`): The folder.
        facts (`RunFacts`): What is to be said of the run.
        history (`list[dict]`): `trainer.history`.
        metadata (`Any`): `license`, `language`, `tags`, `repository`, `revision`, `root` and
            `template` of [`write_model_card`].
    """
    plot = Path("plots") / "task_weights.png"
    exported = Path("export") / facts.target
    return write_model_card(
        output_dir,
        history=history,
        exported_to=exported.as_posix() if (output_dir / exported).is_dir() else None,
        plot=plot.as_posix() if (output_dir / plot).is_file() else None,
        **facts.of_card,
        **metadata,
    )


def _card_task(setup: TaskSetup, name: str) -> CardTask:
    kind, task = setup.kinds.get(name, "sequence_classification"), setup.tasks.get(name)
    card = CardTask(name, kind, setup.num_rows(name))
    if task is None:
        return card
    num_texts = len(task.text_columns or task.text_templates) or None
    card = replace(card, problem_type=task.problem_type, license=task.license, num_texts=num_texts)
    # A user's YAML file may name a folder there.
    is_on_hub = task.dataset is not None and "/" in task.dataset and is_hub_id(task.dataset)
    return replace(card, dataset=task.dataset, config=task.dataset_config) if is_on_hub else card


def _majority_scores(setup: TaskSetup, task: CardTask) -> dict[str, float]:
    rows, known = setup.eval_datasets.get(task.name), setup.tasks.get(task.name)
    labels = rows.labels() if rows is not None and kind_of(task).has_one_class else None
    ids = [label.item() if hasattr(label, "item") else label for label in labels or ()]
    if not all(isinstance(label, int) for label in ids):
        return {}
    if known is None or setup.has_own_metrics(task.name):  # a share of rows alone has a known meaning
        return majority_scores(ids, kind_of(task), ["accuracy"])
    return majority_scores(ids, kind_of(task), known.metrics, known.labels)


def pushes_target(args: MultitaskSettings, model: Any) -> bool:
    """
    Whether the root of a run's repository on the Hub is the target's own model.

    Args:
        args (`MultitaskSettings`): The run's settings.
        model (`torch.nn.Module`): The bare model.
    """
    is_ours = isinstance(unwrap_peft(model), MultitaskModel)
    return args.hub_export == "target" or (args.hub_export is None and is_ours)


def root_of_card(args: MultitaskSettings, model: Any, repository: str | None) -> str:
    """
    What the folder of a run's card is: the argument `root` of [`write_model_card`].

    Args:
        args (`MultitaskSettings`): The run's settings.
        model (`torch.nn.Module`): The bare model.
        repository (`str`, *optional*): The repository on the Hub to which the run is pushed.
    """
    if repository is not None and pushes_target(args, model):
        return "target"
    return "multitask" if isinstance(unwrap_peft(model), MultitaskModel) else "weights"


def _base_model(model: Any) -> str | None:
    config = getattr(model, "config", None)
    encoder = getattr(config, "encoder", config)
    name = getattr(encoder, "_name_or_path", None) or None
    return os.path.abspath(name) if name and os.path.isdir(name) else name
