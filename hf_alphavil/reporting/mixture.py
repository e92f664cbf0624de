"""The learned task weights as shares of datasets, in the settings of other libraries."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import yaml

from ..methods import METHODS
from .facts import RunFacts
from .history import HistoryEntry, kept_entry

COMMENT = (
    "# The task weights of {name} after epoch {epoch} as a mixture: the share of task t is w_t / Σ w.\n"
    "# Names are those of the tasks: put the paths or ids of your datasets in their place.\n"
)


def export_mixture(form: str, facts: RunFacts, history: Sequence[HistoryEntry]) -> tuple[str, list[str]]:
    """
    Writes the kept epoch's task weights as settings of another library: w_t / Σ w is the share of task t's rows.

    Args:
        form (`str`): A key of `FORMS`.
        facts (`RunFacts`): For the tasks and their numbers of rows.
        history (`Sequence[dict]`): The history of the run.

    Returns:
        `tuple[str, list[str]]`: The settings as YAML, and the tasks that are left out because their weight is not
        above 0, such as `mrpc (-0.100)`.

    Raises:
        ValueError: If the run has no weights, a weight is not finite, or fewer than two are above 0.
    """
    entry = kept_entry(history)
    weights = entry.get("task_weights", {})
    if not (weights and METHODS[facts.method].changes_weights):
        raise ValueError(
            f"the run has learned no task weights (method {facts.method}), so there is no mixture to export"
        )
    if bad := [task for task, weight in weights.items() if not math.isfinite(weight)]:
        raise ValueError(f"the task weight of {', '.join(bad)} is not finite, so there is no mixture to export")
    used = {task: weight for task, weight in weights.items() if weight > 0}
    if len(used) < 2:
        raise ValueError(f"{' '.join(used) or 'no task'} has a weight above 0, and a mixture needs two")
    total = math.fsum(used.values())
    order = sorted(used, key=lambda task: task != facts.target)
    shares = {task: used[task] / total for task in order}
    rows = {task.name: task.rows for task in facts.tasks}
    settings = FORMS[form](shares, {task: rows.get(task, 0) for task in shares})
    text = COMMENT.format(name=" ".join(facts.model_name.split()), epoch=entry["epoch"])
    text += yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    return text, [f"{task} ({weight:.3f})" for task, weight in weights.items() if task not in used]


def of_trl(shares: Mapping[str, float], rows: Mapping[str, int]) -> dict[str, object]:
    """
    The key `datasets` of TRL's scripts: `fraction` is a dataset's share of the mixture.

    `DatasetConfig` of TRL 1.16: https://huggingface.co/docs/trl/script_utils.
    """
    return {
        "datasets": [{"path": task, "split": "train", "fraction": _rounded(share)} for task, share in shares.items()]
    }


def of_axolotl(shares: Mapping[str, float], rows: Mapping[str, int]) -> dict[str, object]:
    """
    The key `datasets` of axolotl: `weight`, above 0 and at most 1, is the part of a dataset's own rows that is drawn.

    The mixture is as large as it can be: a dataset is used whole.
    https://github.com/axolotl-ai-cloud/axolotl/pull/3690.

    Raises:
        ValueError: If the number of a task's rows is not known.
    """
    if unknown := [task for task in shares if not rows[task]]:
        raise ValueError(
            f"axolotl's weights need the number of training rows, which is not known of {', '.join(unknown)}"
        )
    size = min(rows[task] / share for task, share in shares.items())
    return {
        "datasets": [{"path": task, "weight": _rounded(share * size / rows[task])} for task, share in shares.items()]
    }


def of_llamafactory(shares: Mapping[str, float], rows: Mapping[str, int]) -> dict[str, object]:
    """
    `dataset`, `mix_strategy` and `interleave_probs` of LLaMA-Factory: rows are drawn by probability until one dataset
    ends.

    https://github.com/hiyouga/LLaMA-Factory/blob/main/src/llamafactory/hparams/data_args.py. Names of datasets are
    separated by commas.

    Raises:
        ValueError: If the name of a task has a comma.
    """
    if bad := [task for task in shares if "," in task]:
        raise ValueError(f"LLaMA-Factory separates datasets by commas, and {', '.join(map(repr, bad))} has one")
    return {
        "dataset": ",".join(shares),
        "mix_strategy": "interleave_under",
        "interleave_probs": ",".join(f"{_rounded(share):g}" for share in shares.values()),
    }


#: The libraries, with the function that writes their settings.
FORMS: dict[str, Callable[[Mapping[str, float], Mapping[str, int]], dict[str, object]]] = {
    "trl": of_trl,
    "axolotl": of_axolotl,
    "llamafactory": of_llamafactory,
}


def _rounded(share: float) -> float:
    """Six significant digits: none becomes 0."""
    return float(f"{share:.6g}")
