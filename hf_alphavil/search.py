"""Hyper-parameter search: the objective, and a run that is set up anew for every trial."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from transformers import Trainer, set_seed
from transformers.trainer_utils import default_compute_objective, enable_full_determinism

from .setup.best_metric import owner_of
from .setup.task_setup import TaskSetup
from .setup.trainer_checks import check_model_suits
from .trainer_hooks import multitask_hook


class SearchMixin(Trainer):
    """
    A `transformers.Trainer` whose hyper-parameter search, in multitask mode, optimises the target's score.

    [`MultitaskTrainer`] sets `task_setup`, and sets up the tasks anew when `train()` finds other settings.
    """

    args: Any
    task_setup: TaskSetup
    _before_search: Mapping[str, Any]

    @multitask_hook
    def hyperparameter_search(
        self,
        hp_space: Callable | None = None,
        compute_objective: Callable[[dict[str, float]], float] | None = None,
        n_trials: int = 20,
        direction: str | list[str] | None = None,
        backend: Any = None,
        hp_name: Callable | None = None,
        **kwargs: Any,
    ) -> Any:
        """
        Trainer's search. Every trial starts from the settings before the search, and all that depends on them is set
        up anew, such as the held-out slice.

        Args:
            hp_space (`Callable`, *optional*):
                Draws the settings of a trial; any field of the arguments. If a row is longer than the encoder's
                positions, a larger `max_length` is refused, not lowered: the search would report what no trial used.
            compute_objective (`Callable`, *optional*):
                Computes the objective from the metrics of an evaluation. Defaults to the metric that selects the best
                model: `metric_for_best_model`, or the target's main metric. If the target has only metrics of your
                own and no `metric_for_best_model`, this is its loss, or with `direction="maximize"` their sum.
            n_trials (`int`, *optional*, defaults to 20): Number of trials.
            direction (`str` or `list[str]`, *optional*):
                `"minimize"` or `"maximize"`. Defaults to the direction of that metric; with `compute_objective`, to
                `"minimize"`, as in Trainer.
            backend (`str`, *optional*): The library that searches. Defaults to one that is installed.
            hp_name (`Callable`, *optional*): Names a trial.
            kwargs (`Any`): Further arguments of the library.

        Raises:
            ValueError: If `direction` contradicts the metric.
        """
        if compute_objective is None:
            compute_objective, direction = self._default_objective(direction)
        self._before_search = self.args.as_given()
        return super().hyperparameter_search(
            hp_space, compute_objective, n_trials, direction or "minimize", backend, hp_name, **kwargs
        )

    def _default_objective(self, direction: str | list[str] | None) -> tuple[Callable[[dict[str, float]], float], str]:
        """The objective without `compute_objective`, and its direction."""
        metric, setup = self.args.metric_for_best_model, self.task_setup
        wanted = "maximize" if self.args.greater_is_better else "minimize"
        if direction in (None, wanted):
            return lambda metrics: metrics[metric], wanted
        if direction == "maximize" and metric == f"eval_{setup.target}_loss" and setup.target in setup.metrics:
            return partial(_sum_of_scores, setup.target, setup.names), direction
        raise ValueError(
            f"direction={direction!r}, but the objective is {metric}, for which it is {wanted!r}: leave `direction` "
            "out, name another `metric_for_best_model`, or pass `compute_objective`"
        )

    @multitask_hook
    def call_model_init(self, trial: Any = None) -> Any:
        """Trainer's call, after a trial's settings are in place: the model may depend on them, and on the seed."""
        if trial is not None:
            self._hp_search_setup(trial)
            seed_all = enable_full_determinism if self.args.full_determinism else set_seed
            seed_all(self.args.seed)
        model = super().call_model_init(trial)
        check_model_suits(self.args, model)
        return model

    @multitask_hook
    def _hp_search_setup(self, trial: Any) -> None:
        """Trainer's settings of a trial, on those before the search, with the checks of new arguments."""
        if self.hp_search_backend is None or trial is None:
            super()._hp_search_setup(trial)
            return
        for name, value in self._before_search.items():
            setattr(self.args, name, value)
        super()._hp_search_setup(trial)
        self.args.__post_init__()
        self._train_batch_size = self.args.train_batch_size
        self.create_accelerator_and_postprocess()


def _sum_of_scores(target: str, names: tuple[str, ...], metrics: dict[str, float]) -> float:
    """Trainer's default objective, of the target's metrics alone."""
    values = {key.removeprefix("eval_"): value for key, value in metrics.items() if key.startswith("eval_")}
    of_target = {key: value for key, value in values.items() if owner_of(key, names) == target}
    return default_compute_objective({f"eval_{key.removeprefix(f'{target}_')}": of_target[key] for key in of_target})
