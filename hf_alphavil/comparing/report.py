"""The tables of a comparison, in Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..files.markdown import markdown_table
from .estimates import Estimate
from .left_out import LEAST_SEEDS, verdict_of
from .results import SIGN, Results

MISSING = "–"


def format_report(results: Results, command: str, failed: Sequence[str]) -> str:
    """
    Formats the results of a comparison as Markdown, including those that do not favour αVIL.

    Args:
        results (`Results`): The finished runs.
        command (`str`): The command that produced them.
        failed (`Sequence[str]`): Ids of the failed runs.

    Returns:
        `str`: The scores, their paired differences to the baseline, what each auxiliary gives, and the cost of the
        runs.
    """
    comparison = results.comparison
    planned = len(comparison.runs())
    lines = [
        f"# {len(comparison.methods)} methods, {len(comparison.targets)} targets, {len(comparison.seeds)} seeds",
        f"```bash\n{command}\n```",
        f"{len(results.runs)} of {planned} runs are finished. Scores are on the targets' validation sets, which tuned "
        "nothing. Each run reports the epoch that scored best on a slice of the target's training rows, on which no "
        f"method trains. A method that fits α or similar weights holds {_rows(results, 'meta')} of the other rows out "
        "for it; the others train on them too. Numbers are points, that is, hundredths of the main metric. "
        "Differences have the opposite sign where a smaller score is better, so that + is better for every target.",
        *([f"**{len(failed)} runs failed** and are missing below: {', '.join(failed)}."] if failed else []),
        "## Scores",
        "Mean over seeds ± 95 % interval (Student's t).",
        _scores(results),
        f"## Paired differences to `{comparison.baseline}` ({SIGN})",
        "Mean over pairs with equal target and seed, and 95 % interval by a paired bootstrap (percentile). With fewer "
        "than about ten pairs, such an interval is too narrow.",
        _differences(results),
        *(_auxiliaries(results) if comparison.leave_one_out else ()),
        "## Cost of the runs",
        "Means per run with all auxiliaries. Examples are those of the optimizer steps, as a share of "
        f"`{comparison.baseline}`'s. Seconds are those of training, including evaluation on the selection slice.",
        _costs(results),
        _versions(results),
    ]
    return "\n\n".join(lines) + "\n"


def _scores(results: Results) -> str:
    targets = results.comparison.targets
    metrics = {target: results.metric(target) for target in targets}
    header = ["method", *(f"{target} ({metric})" if metric else target for target, metric in metrics.items())]
    rows = [
        [_marked(results, name), *(_plus_minus(results.score(name, target)) for target in targets)]
        for name in results.methods
    ]
    return markdown_table(header, rows)


def _differences(results: Results) -> str:
    targets: list[str | None] = list(results.comparison.targets)
    if len(targets) > 1:
        targets = [None, *targets]
    rows = []
    for name in results.methods:
        if name == results.comparison.baseline:
            continue
        estimates = [results.difference(name, target) for target in targets]
        rows.append([name, str(results.difference(name).n), *map(_with_interval, estimates)])
    return markdown_table(["method", "pairs", *(target or "all targets" for target in targets)], rows)


def _auxiliaries(results: Results) -> list[str]:
    header = ["method", "target", "auxiliary", "score without it", "seeds", f"what it gives ({SIGN})", "verdict"]
    rows = []
    for one in results.left_out():
        scores = _plus_minus(one.without), str(one.gives.n), _with_interval(one.gives)
        rows.append([one.method, one.target, one.auxiliary, *scores, verdict_of(one.gives)])
    return [
        "## Which auxiliary helped",
        "Leave-one-out: the method trains again without each auxiliary, for as many optimizer steps. What an "
        "auxiliary gives is the difference between the scores with all of them and without it: mean and 95 % interval "
        "over the seeds that have both (Student's t). *helped* and *hurt*: the interval is on one side of 0. Fewer "
        f"than {LEAST_SEEDS} seeds cannot tell. Each interval is that of one auxiliary, for this split of the rows.",
        markdown_table(header, rows),
    ]


def _costs(results: Results) -> str:
    rows = []
    baseline_examples = results.mean_of(results.comparison.baseline, "examples")
    for name in results.methods:
        examples, steps, seconds, memory, gpu_memory = (
            results.mean_of(name, key) for key in ("examples", "steps", "seconds", "peak_memory", "peak_gpu_memory")
        )
        rows.append(
            [
                _marked(results, name),
                str(len(results.of(name))),
                _number(examples / baseline_examples if examples and baseline_examples else None, 3),
                _number(steps, 0),
                _number(seconds, 1),
                _number(memory and memory / 1e9, 2),
                _number(gpu_memory and gpu_memory / 1e9, 2),
            ]
        )
    header = ["method", "runs", "examples", "steps", "seconds", "peak memory (GB)", "peak GPU memory (GB)"]
    return markdown_table(header, rows)


def _versions(results: Results) -> str:
    """The versions that produced the results, on several lines if they differ between runs."""
    seen = {
        ", ".join(f"{name} {version}" for name, version in run["versions"].items() if version) + f", {run['device']}"
        for run in results.runs
    }
    if len(seen) < 2:
        return f"Produced by {next(iter(seen), 'nothing yet')}."
    return "**The runs were produced by different versions:**\n\n" + "\n".join(f"- {line}" for line in sorted(seen))


def _rows(results: Results, part: str) -> str:
    numbers = sorted({run["rows"][part] for run in results.runs})
    return " to ".join(str(number) for number in dict.fromkeys((numbers[0], numbers[-1]))) if numbers else "other"


def _marked(results: Results, name: str) -> str:
    return f"{name} (baseline)" if name == results.comparison.baseline else name


def _plus_minus(estimate: Estimate) -> str:
    if estimate.n == 0:
        return MISSING
    return f"{estimate.mean:.1f} ± {_number(estimate.high - estimate.mean, 1)}"


def _with_interval(estimate: Estimate) -> str:
    if estimate.n == 0:
        return MISSING
    if estimate.n == 1:
        return f"{estimate.mean:+.1f} [{MISSING}]"
    return f"{estimate.mean:+.1f} [{estimate.low:+.1f}, {estimate.high:+.1f}]"


def _number(value: float | None, decimals: int) -> str:
    return MISSING if value is None or math.isnan(value) else f"{value:.{decimals}f}"
