"""The results of a comparison, and estimates from them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from .comparison import Comparison
from .estimates import Estimate, mean_estimate, paired_estimate
from .left_out import LeftOut

#: Scores are shown in points, which are hundredths of the main metric.
POINTS = 100
#: What the sign of a difference says, whichever direction the metric has.
SIGN = "+ is better"


@dataclass(frozen=True)
class Results:
    """
    The finished runs of a comparison.

    Args:
        comparison (`Comparison`): The comparison.
        runs (`list[dict]`): The results of its finished runs.
    """

    comparison: Comparison
    runs: list[dict[str, Any]]

    @property
    def methods(self) -> list[str]:
        """`list[str]`: Names of the methods, best mean paired difference first; methods without a pair come last."""
        differences = {entry.name: self.difference(entry.name) for entry in self.comparison.methods}
        return sorted(differences, key=lambda name: _best_first(differences[name]))

    def of(self, method: str, target: str | None = None, without: str | None = None) -> list[dict[str, Any]]:
        """
        Results of a method.

        Args:
            method (`str`): Its name.
            target (`str`, *optional*): Restricts the results to this target.
            without (`str`, *optional*): The auxiliary that was left out. By default, results with all of them.
        """
        return [
            run
            for run in self.runs
            if run["name"] == method and target in (None, run["target"]) and run.get("without") == without
        ]

    def metric(self, target: str) -> str | None:
        """
        The metric of a target's scores in words, which say so if a smaller score is better.

        Args:
            target (`str`): The target.

        Returns:
            `str`, *optional*: `None` if none of its runs is finished.
        """
        run = next((run for run in self.runs if run["target"] == target), None)
        if run is None:
            return None
        return run["metric"] if run["greater_is_better"] else f"{run['metric']}, smaller is better"

    def points(self, method: str, target: str) -> list[float]:
        """
        Scores of a method on a target, one per finished seed, in points.

        Args:
            method (`str`): The method.
            target (`str`): The target.
        """
        return [POINTS * run["score"] for run in self.of(method, target)]

    def score(self, method: str, target: str) -> Estimate:
        """
        The mean score over seeds, in points.

        Args:
            method (`str`): The method.
            target (`str`): The target.
        """
        return mean_estimate(self.points(method, target))

    def difference(self, method: str, target: str | None = None) -> Estimate:
        """
        How much better than the baseline a method is: the mean difference over the (target, seed) pairs that both have
        finished, in points. Above 0 is better, also where a smaller score is.

        Args:
            method (`str`): The method.
            target (`str`, *optional*): Restricts the pairs to this target.
        """
        ours, baseline = (
            {(run["target"], run["seed"]): _signed_points(run) for run in self.of(name, target)}
            for name in (method, self.comparison.baseline)
        )
        pairs = [pair for pair in ours if pair in baseline]
        return paired_estimate([ours[pair] for pair in pairs], [baseline[pair] for pair in pairs])

    def left_out(self) -> list[LeftOut]:
        """`list[LeftOut]`: What each auxiliary gives, in the order of methods and targets, the most helpful first."""
        comparison = self.comparison
        return [
            left_out
            for name in comparison.leave_one_out
            for target in comparison.targets
            for left_out in sorted(
                (self._left_out(name, target, auxiliary) for auxiliary in comparison.auxiliaries(target)),
                key=lambda one: _best_first(one.gives),
            )
        ]

    def _left_out(self, method: str, target: str, auxiliary: str) -> LeftOut:
        with_all, without = (
            {run["seed"]: run for run in self.of(method, target, left_out)} for left_out in (None, auxiliary)
        )
        seeds = [seed for seed in without if seed in with_all]
        scores = mean_estimate([POINTS * without[seed]["score"] for seed in seeds])
        gives = mean_estimate([_signed_points(with_all[seed]) - _signed_points(without[seed]) for seed in seeds])
        return LeftOut(method, target, auxiliary, scores, gives)

    def mean_of(self, method: str, key: str) -> float | None:
        """
        The mean of a number over the results of a method.

        Args:
            method (`str`): The method.
            key (`str`): Key of the number, such as `"seconds"`.

        Returns:
            `float`, *optional*: The mean; `None` if no run is finished or if a result has no such number.
        """
        values = [run[key] for run in self.of(method)]
        return mean(values) if values and None not in values else None


def _signed_points(run: dict[str, Any]) -> float:
    """The score of a run in points, negative where a smaller score is better."""
    return POINTS * run["score"] * (1 if run["greater_is_better"] else -1)


def _best_first(estimate: Estimate) -> tuple[bool, float]:
    """The key that sorts greater means first, and those without values last."""
    return math.isnan(estimate.mean), -estimate.mean


def read_result(path: Path) -> dict[str, Any]:
    """
    Reads the file of a finished run.

    Args:
        path (`Path`): The file.

    Raises:
        ValueError: If the file is not JSON, because something else has overwritten it.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not the result of a run ({error}): remove it to repeat the run") from error


def format_lines(runs: Sequence[dict[str, Any]]) -> str:
    """
    Formats results as JSON Lines.

    Args:
        runs (`Sequence[dict]`): The results.
    """
    return "".join(json.dumps(run, ensure_ascii=False) + "\n" for run in runs)
