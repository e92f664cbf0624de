"""The model card: a README.md with front matter for the Hub and a statement of how far its scores can be trusted."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from ..files.markdown import markdown_table
from ..kinds import kind_of
from .cosines import COSINES_IN_WORDS, cosines
from .encoder_name import encoder_in_words, hub_id_of
from .history import HistoryEntry, best_was_loaded, epochs_of_choice, fitted_entry, kept_entry
from .local_paths import is_hub_id
from .scores import CardScore, no_better_in_words
from .trust import alpha_data_in_words, rows_in_words, score_in_words
from .undone import undone_in_words
from .verdicts import VERDICTS_IN_WORDS, Verdict, verdicts, verdicts_in_short

PAPER = "https://arxiv.org/abs/2405.07769"
CITATION = """@article{kourdis2024alphavil,
  title   = {{$\\alpha$VIL}: Learning to Leverage Auxiliary Tasks for Multitask Learning},
  author  = {Kourdis, Rafael and Gordon-Hall, Gabriel and Gorinski, Philip John},
  journal = {arXiv preprint arXiv:2405.07769},
  year    = {2024}
}"""
#: Heading of the scores' intervals.
INTERVAL_COLUMN = "95 % interval (Wilson)"
#: What the licence of GLUE and SuperGLUE on the Hub means.
LICENSE_OTHER = (
    "*other*: the Hub names no single licence for the dataset. The terms are those of its original sources."
)
#: Most columns of the table of cosines.
MOST_COSINE_COLUMNS = 8
#: The folder of a repository that holds the multitask model beneath the target.
MULTITASK_FOLDER = "multitask"
#: The card's Jinja template.
TEMPLATE = Path(__file__).with_name("model_card_template.md")
TAGS = ("alphavil", "multitask-learning", "generated_from_trainer", "arxiv:2405.07769")


@dataclass(frozen=True)
class CardTask:
    """
    A task as the card shows it.

    Args:
        name (`str`): The task's name.
        kind (`str`): A key of `KINDS`, such as `"sequence_classification"`.
        rows (`int`): Number of training rows; 0 for a task that was only scored.
        dataset (`str`, *optional*): Hub id of the dataset, such as `"nyu-mll/glue"`, or any other name for it.
        config (`str`, *optional*): The dataset's configuration, such as `"rte"`.
        problem_type (`str`, *optional*): `"multi_label_classification"` if a text can have any number of labels.
        license (`str`, *optional*): The licence of the dataset.
        num_texts (`int`, *optional*): How many texts a row has, 1 or 2; `None` if it is not known.
    """

    name: str
    kind: str
    rows: int
    dataset: str | None = None
    config: str | None = None
    problem_type: str | None = None
    license: str | None = None
    num_texts: int | None = None


def write_model_card(
    output_dir: str | os.PathLike[str],
    *,
    model_name: str,
    target: str,
    method: str,
    tasks: Sequence[CardTask],
    scores: Sequence[CardScore] = (),
    history: Sequence[HistoryEntry] = (),
    alpha_data: str | None = None,
    meta_use: str = "α was fitted",
    meta_rows: int | None = None,
    meta_rows_trained_in_the_end: bool = False,
    selected_on: str | None = None,
    selected_tasks: Sequence[str] | None = None,
    base_model: str | None = None,
    training: Mapping[str, Any] | None = None,
    changed: Collection[str] | None = None,
    exported_to: str | None = None,
    repository: str | None = None,
    revision: str | None = None,
    root: str = "multitask",
    license: str | None = None,
    language: str | None = None,
    tags: Sequence[str] = (),
    plot: str | None = None,
    cost: Mapping[str, str] | None = None,
    template: str | os.PathLike[str] | None = None,
) -> Path:
    """
    Writes `README.md`: front matter with a `model-index`, tasks, scores and how far to trust them, settings.

    Args:
        output_dir (`str` or `os.PathLike`): The folder to write to. It is created if missing.
        model_name (`str`): The model's name.
        target (`str`): The target task, one of `tasks`.
        method (`str`): The training method, such as `"alphavil"`.
        tasks (`Sequence[CardTask]`): All tasks that were trained, and those that were only scored (with 0 rows).
        scores (`Sequence[CardScore]`, *optional*): The scores.
        history (`Sequence[dict]`, *optional*): The history of the run. The card shows its last α and weights.
        alpha_data (`str`, *optional*):
            Where the meta set came from: `"train_holdout"`, `"train"`, `"validation"` or `"test"`; `None` for methods
            without a meta set.
        meta_use (`str`, *optional*, defaults to `"α was fitted"`):
            What the meta set was used for, as the start of a sentence that continues with "on ...".
        meta_rows (`int`, *optional*): Number of rows of the meta set.
        meta_rows_trained_in_the_end (`bool`, *optional*, defaults to `False`):
            Whether the run's last epochs trained on the rows of the meta set too.
        selected_on (`str`, *optional*):
            The split on which the best checkpoint or the stopping point was chosen; `None` if the last model was kept.
        selected_tasks (`Sequence[str]`, *optional*): The tasks whose scores chose it. Defaults to the target.
        base_model (`str`, *optional*):
            The encoder. A Hub id goes into the front matter; of a local path, the card shows no more than a name.
        training (`Mapping[str, Any]`, *optional*): Training settings to list.
        changed (`Collection[str]`, *optional*):
            The names of those that are not at their default. Without it, all are listed alike.
        exported_to (`str`, *optional*):
            Folder of the exported target model. With `None` the example shows a placeholder.
        repository (`str`, *optional*): Id of the repository on the Hub that the card is for.
        revision (`str`, *optional*): The branch of the repository, if it is not the main one.
        root (`str`, *optional*, defaults to `"multitask"`):
            What the card's folder is: `"target"`, the target's own model with the multitask model in `multitask/`,
            `"multitask"`, the multitask model, or `"weights"`, the weights of another module.
        license (`str`, *optional*): The model's license, as a license id of the Hub.
        language (`str`, *optional*): The language, as an ISO 639 code.
        tags (`Sequence[str]`, *optional*): Tags besides those of every card.
        plot (`str`, *optional*): Path of the task weights' plot, relative to `output_dir`.
        cost (`Mapping[str, str]`, *optional*): What the run cost, by the words for it.
        template (`str` or `os.PathLike`, *optional*):
            The card's Jinja template, as for `huggingface_hub.ModelCard.from_template`. Defaults to the package's
            `reporting/model_card_template.md`, which shows the names that a template can use.

    Returns:
        `Path`: The card.

    Raises:
        ValueError: If the target or the task of a score is not among `tasks`.
    """
    by_name = {task.name: task for task in tasks}
    for name in (target, *(score.task for score in scores)):
        if name not in by_name:
            raise ValueError(f"the card has no task {name!r}, only {', '.join(by_name)}: pass a CardTask for it")
    kind, num_texts = kind_of(by_name[target]), by_name[target].num_texts
    hub_model = hub_id_of(base_model)
    hub_datasets = dict.fromkeys(task.dataset for task in tasks if task.dataset and "/" in task.dataset)
    data = ModelCardData(
        library_name="transformers" if root == "target" else "hf_alphavil",
        model_name=model_name,
        base_model=hub_model,
        tags=list(dict.fromkeys([*TAGS, *tags])),
        license=license,
        language=language,
        datasets=[name for name in hub_datasets if name and is_hub_id(name)] or None,
        metrics=list(dict.fromkeys(score.metric for score in scores)) or None,
        pipeline_tag=kind.hub_task if root == "target" and kind.has_pipeline else None,
        eval_results=[
            _eval_result(by_name[score.task], score)
            for score in scores
            if math.isfinite(score.value) and score.step is None
        ],
    )
    encoder = f"[{hub_model}](https://huggingface.co/{hub_model})" if hub_model else encoder_in_words(base_model)
    by_task = verdicts(history)
    remarks = [words] if (words := undone_in_words(history)) else []
    if by_task:
        remarks += [verdicts_in_short(history), VERDICTS_IN_WORDS]
    if best_was_loaded(history):
        remarks.append(_kept_epoch_in_words(history))
    if plot is not None:
        remarks.append(f"![Task weights during training]({plot})")
    matrix = cosines(history)
    no_better = f"**{words}**" if (words := no_better_in_words(scores, target)) else ""
    meta_set, held_out = None, meta_rows if alpha_data == "train_holdout" else None
    if alpha_data is not None:
        meta_set = alpha_data_in_words(alpha_data, target, meta_rows, meta_use, meta_rows_trained_in_the_end)
    if repository is None:
        usage = kind.usage(target, exported_to or f"path/to/exported/{target}", num_texts)
    else:
        usage = _usage_of_repository(repository, revision, root, kind.usage(target, repository, num_texts))
    card = ModelCard.from_template(
        data,
        template_path=str(template or TEMPLATE),
        model_name=model_name,
        introduction=_introduction(encoder, tasks, target, method),
        tasks="\n\n".join(filter(None, [no_better, _task_table(tasks, target, history, by_task, held_out)])),
        remarks=remarks,
        results=_score_table(scores, target, alpha_data, meta_use, selected_on, selected_tasks or [target])
        if scores
        else None,
        data=_data_table(tasks, target) if any(task.dataset or task.license for task in tasks) else None,
        cosines=f"{COSINES_IN_WORDS}\n\n{_cosine_table(matrix, target)}" if matrix else None,
        meta_use=meta_use,
        meta_set=meta_set,
        settings=_settings(training, changed) if training else None,
        cost=markdown_table(["what", "how much"], [list(row) for row in cost.items()]) if cost else None,
        usage=usage,
        paper=PAPER,
        citation=CITATION,
    )
    path = Path(output_dir) / "README.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    card.save(path)
    return path


def _usage_of_repository(repository: str, revision: str | None, root: str, usage_of_target: str) -> str:
    if root == "weights":
        return "`model.safetensors` holds the weights of the module that was trained: load them into such a module."
    parts, arguments = [], f'"{repository}"'
    if root == "target":
        parts.append(usage_of_target)
        arguments += f', subfolder="{MULTITASK_FOLDER}"'
    parts.append(
        "The multitask model, with the heads of all tasks, needs `hf_alphavil`:\n\n"
        "```python\nfrom hf_alphavil import MultitaskModel\n\n"
        f"model = MultitaskModel.from_pretrained({arguments})\n```"
    )
    if revision is not None:
        parts.append(f'The files are on the branch `{revision}`: add `revision="{revision}"` to each call.')
    return "\n\n".join(parts)


def _introduction(encoder: str, tasks: Sequence[CardTask], target: str, method: str) -> str:
    auxiliaries = ", ".join(f"`{task.name}`" for task in tasks if task.name != target and task.rows)
    return (
        f"{encoder}, fine-tuned on the target task `{target}`"
        + (f" with the auxiliary tasks {auxiliaries}" if auxiliaries else "")
        + f" with the method `{method}` of hf_alphavil, an implementation of [αVIL]({PAPER}) for the Hugging Face "
        "Trainer."
    )


def _eval_result(task: CardTask, score: CardScore) -> EvalResult:
    return EvalResult(
        task_type=kind_of(task).hub_task,
        task_name=task.name,
        dataset_type=task.dataset or task.name,
        dataset_name=task.name,
        dataset_config=task.config,
        dataset_split=score.split,
        metric_type=score.metric,
        metric_name=score.metric,
        metric_value=score.value,
    )


def _task_table(
    tasks: Sequence[CardTask],
    target: str,
    history: Sequence[HistoryEntry],
    by_task: Mapping[str, Verdict],
    held_out: int | None,
) -> str:
    last, fitted, times = kept_entry(history), fitted_entry(history), epochs_of_choice(history)
    rows = []
    for task in sorted(tasks, key=lambda task: task.name != target):
        name = f"**{_cell(task.name)}** (target)" if task.name == target else _cell(task.name)
        found = (last.get("task_weights", {}), fitted.get("alpha", {}))
        numbers = [of_tasks.get(task.name) for of_tasks in found]
        verdict = by_task.get(task.name)
        judged = [verdict.words, verdict.interval] if verdict else ["–", "–"]
        shown = ["–" if n is None else f"{n:.3f}" for n in numbers]
        trained = ["–" if task.name == target else str(times[task.name])] if times else []
        counted = rows_in_words(str(task.rows), held_out if task.name == target else None)
        rows.append([name, *(judged if by_task else []), kind_of(task).words, counted, *trained, *shown])
    weight, alpha = "final weight", "last α"
    if best_was_loaded(history):
        weight, alpha = f"weight after epoch {last.get('epoch', 0)}", f"α of epoch {fitted.get('epoch', 0)}"
    judged_by = ["did it help?", "held-out loss saved"] if by_task else []
    chosen = ["epochs that chose it"] if times else []
    return markdown_table(["task", *judged_by, "kind", "training rows", *chosen, weight, alpha], rows)


def _data_table(tasks: Sequence[CardTask], target: str) -> str:
    rows = []
    for task in sorted(tasks, key=lambda task: task.name != target):
        place = task.dataset or "–"
        if is_hub_id(place) and "/" in place:
            place = f"[{place}](https://huggingface.co/datasets/{place})"
        place += f", `{_cell(task.config)}`" if task.config else ""
        rows.append([_cell(task.name), place, _cell(task.license or "not stated")])
    table = markdown_table(["task", "dataset", "licence"], rows)
    return f"{table}\n\n{LICENSE_OTHER}" if any(task.license == "other" for task in tasks) else table


def _settings(training: Mapping[str, Any], changed: Collection[str] | None) -> str:
    """The settings in a table; those that are at their default follow in one that is folded."""

    def table(names: Iterable[str]) -> str:
        rows = [[f"`{_cell(name)}`", _cell(training[name])] for name in names]
        return markdown_table(["setting", "value"], rows) if rows else ""

    if changed is None:
        return table(training)
    defaults = table(name for name in training if name not in changed)
    folded = f"<details>\n<summary>Settings at their default</summary>\n\n{defaults}\n\n</details>" if defaults else ""
    return "\n\n".join(filter(None, [table(name for name in training if name in changed), folded]))


def _kept_epoch_in_words(history: Sequence[HistoryEntry]) -> str:
    epoch = kept_entry(history).get("epoch")
    if epoch is None:
        return "The best model was kept. It is from the first epoch, before its end."
    return f"The best model was kept: that of epoch {epoch} of {len(history)}."


def _score_table(
    scores: Sequence[CardScore],
    target: str,
    alpha_data: str | None,
    meta_use: str,
    selected_on: str | None,
    selected_tasks: Sequence[str],
) -> str:
    rows, has_intervals = [], any(score.interval for score in scores)
    has_majorities = any(score.majority is not None for score in scores)
    for score in scores:
        trust = score_in_words(
            score.split, score.task == target, alpha_data, selected_on, meta_use,
            is_selecting=score.task in selected_tasks, step=score.step,
        )  # fmt: skip
        interval = [score.interval_in_words or "–"] if has_intervals else []
        majority = [score.majority_in_words or "–"] if has_majorities else []
        value = f"{score.value:.4f}"
        rows.append([_cell(score.task), score.split, _cell(score.metric), value, *interval, *majority, trust])
    columns = [*([INTERVAL_COLUMN] if has_intervals else []), *(["majority class"] if has_majorities else [])]
    return markdown_table(["task", "split", "metric", "value", *columns, "remark"], rows)


def _cosine_table(matrix: Mapping[str, Mapping[str, float]], target: str) -> str:
    """The matrix; of many tasks, the first column, which is the target's."""
    names = sorted(matrix, key=lambda name: name != target)
    columns = names if len(names) <= MOST_COSINE_COLUMNS else names[:1]
    rows = [[f"**{_cell(one)}**", *(f"{matrix[one][other]:.2f}" for other in columns)] for one in names]
    return markdown_table(["", *map(_cell, columns)], rows)


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
