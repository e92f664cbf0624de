"""Every setting of multitask training, documented once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from transformers import TrainingArguments

from .distributed.refusals import refuse_deepspeed_launch
from .methods import METHODS
from .methods.options import read_options

CHOICES: dict[str, tuple[str, ...]] = {
    "alpha_optimizer": ("sgd", "adam", "lbfgs", "gradient_free"),
    "alpha_objective": ("loss", "metric", "entropy"),
    "alpha_granularity": ("task", "layer"),
    "alpha_data": ("train_holdout", "train", "validation", "test"),
    "phase_optimizer_state": ("per_task", "reset"),
    "weight_applies_to": ("learning_rate", "loss"),
    "alpha_applies_to": ("all", "encoder"),
    "phase_parallel": ("off", "auto", "on"),
    "delta_device": ("device", "cpu"),
    "delta_dtype": ("float32", "bfloat16"),
    "task_sampling": ("proportional", "uniform", "temperature", "weights"),
}


@dataclass
class MultitaskTrainingArguments(TrainingArguments):
    """
    `TrainingArguments` with the settings of multitask training and αVIL (arXiv 2405.07769).

    Where the paper leaves a decision open, the default is ours; `docs/settings.md` says which and why. All fields of
    `transformers.TrainingArguments` keep their meaning. `max_steps` and a fractional `num_train_epochs` are rounded up
    to whole epochs by methods of several phases: where a method forks, a model exists only when an epoch's deltas are
    merged. The others end where they are told to, and an epoch that was not finished has no entry in the history.

    Raises:
        ValueError: If a setting lies outside its range; the message says what to pass instead.
        ImportError: If the method needs a library that is not installed.
    """

    target_task: str = field(
        default="", metadata={"help": "The task that the others are to help. Required with several tasks."}
    )
    method: str = field(default="alphavil", metadata={"help": f"How to train: one of {', '.join(METHODS)}."})
    method_kwargs: dict[str, Any] | str | None = field(
        default=None,
        metadata={"help": "Options of the method's own as JSON, such as '{\"temperature\": 2.0}' (docs/methods.md)."},
    )
    max_length: int | None = field(
        default=128,
        metadata={
            "help": "Tokens per sequence after truncation, for datasets made from tasks.",
            "aliases": ["--max_seq_length"],
        },
    )
    delta_fraction: float = field(
        default=1.0,
        metadata={"help": "ρ: random share of every task's training rows that an epoch samples, in (0, 1]."},
    )
    max_phase_steps: int | None = field(
        default=None,
        metadata={"help": "Upper limit of a task's optimizer steps in an epoch, so that no huge auxiliary swamps it."},
    )
    alpha_steps: int = field(
        default=10,
        metadata={
            "help": "S: steps on α in every epoch. With `lbfgs` at most so many iterations; with `gradient_free` "
            "about S·(n + 1) evaluations for n numbers, as many as finite differences would take."
        },
    )
    alpha_learning_rate: float = field(
        default=0.1,
        metadata={
            "help": "Step size of α. With `sgd` in units of the largest first gradient of an epoch so far: an epoch's "
            "first step moves α by at most this much, whatever the loss's scale. `gradient_free` searches α within "
            "S times as much of its start; `lbfgs` finds its step sizes itself."
        },
    )
    alpha_optimizer: str = field(
        default="sgd",
        metadata={
            "help": "Optimizer of α, fresh each epoch: `sgd` or `adam` on batches of the meta set; `lbfgs` (SciPy's) "
            "or `gradient_free` (SciPy's DIRECT, at most 20 numbers) on its first 512 rows."
        },
    )
    alpha_objective: str = field(
        default="loss",
        metadata={
            "help": "What α minimises on the meta set: the target's `loss` (the paper's), minus its `metric` (the "
            "main one; with `alpha_optimizer=gradient_free`), or the `entropy` of its predictions, for which labels "
            "are not looked at (as in AdaMerging, arXiv 2310.02575)."
        },
    )
    alpha_granularity: str = field(
        default="task",
        metadata={
            "help": "One α per `task` (the paper's), or one per task and transformer `layer` of the encoder; its "
            "embeddings and other children, and all heads, are groups like a layer. A task's weight follows the mean "
            "over the encoder's groups."
        },
    )
    alpha_l1: float = field(
        default=0.0,
        metadata={
            "help": "Pull of α towards its start: this times Σ|α − start| over tasks (the mean over a task's layers) "
            "is added to the objective. Not with `lbfgs`."
        },
    )
    alpha_l2: float = field(default=0.0, metadata={"help": "As `alpha_l1`, of Σ(α − start)²."})
    alpha_init: str = field(
        default="1", metadata={"help": "Where every α starts in each epoch: a number above 0, or `mean` for 1/T."}
    )
    alpha_batch_size: int = field(
        default=64, metadata={"help": "Held-out target rows per α step, over all processes."}
    )
    alpha_data: str = field(
        default="train_holdout",
        metadata={
            "help": "What α is fitted on: `train_holdout` (a slice of the target's training rows, held out), `train` "
            "(the training rows themselves), `validation` (the paper's way; the validation score is then "
            "optimistic) or `test` (the text of the test rows, with `alpha_objective=entropy`)."
        },
    )
    alpha_holdout_fraction: float = field(
        default=0.1, metadata={"help": "Share of the target's training rows held out by `alpha_data=train_holdout`."}
    )
    phase_optimizer_state: str = field(
        default="per_task",
        metadata={
            "help": "`per_task`: every task keeps optimizer state of its own over the epochs; `reset`: each phase "
            "starts with none (less memory)."
        },
    )
    weight_applies_to: str = field(
        default="learning_rate",
        metadata={
            "help": "Where the task weight acts: on the phase's `learning_rate` (adaptive optimizers cancel a loss "
            "weight) or on the `loss` (the paper's letter; applied after gradient clipping)."
        },
    )
    min_task_weight: float = field(
        default=0.1,
        metadata={"help": "Lower bound of a task weight. 0 is absorbing: such a task never comes back."},
    )
    max_task_weight: float | None = field(default=None, metadata={"help": "Upper bound of a task weight."})
    normalize_task_weights: bool | None = field(
        default=None,
        metadata={"help": "Scale weights to mean 1 after each update. Default: with `learning_rate` yes, `loss` no."},
    )
    weight_average: float = field(
        default=0.0,
        metadata={
            "help": "β of a moving average of the task weights, in [0, 1): the next weight is β times the present one "
            "plus 1 − β times what the rule says, after bounds and before normalisation."
        },
    )
    prune_below: float | None = field(
        default=None,
        metadata={
            "help": "An auxiliary whose weight, before normalisation, was at or below this after `prune_patience` "
            "epochs in a row leaves the plan for good: its phases are saved, its weight is 0. Default: none does."
        },
    )
    prune_patience: int = field(default=2, metadata={"help": "Epochs in a row of `prune_below`."})
    alpha_applies_to: str = field(
        default="all",
        metadata={"help": "`all` parameters take α, or the `encoder` alone (heads are merged with α = 1)."},
    )
    delta_device: str = field(
        default="device",
        metadata={
            "help": "Where θ0 and an epoch's deltas lie between uses: on the parameters' `device`, or in `cpu` memory "
            "(pinned for CUDA; slower α steps)."
        },
    )
    delta_dtype: str = field(
        default="float32",
        metadata={
            "help": "What deltas are stored in: `float32` (the parameters' own precision) or `bfloat16` (half the "
            "memory; each δ is rounded once, when its phase ends). θ0 and sums keep the parameters' precision."
        },
    )
    joint_fraction: float = field(
        default=0.0,
        metadata={
            "help": "Share of an epoch's steps given to one joint multitask phase before the forks, in [0, 1); 0 is "
            "the paper's algorithm."
        },
    )
    task_sampling: str = field(
        default="proportional",
        metadata={
            "help": "How joint phases mix tasks: `proportional` (to rows), `uniform`, `temperature`, or `weights` (by "
            "task weight; the steps are then not weighted again)."
        },
    )
    sampling_temperature: float = field(
        default=2.0, metadata={"help": "Temperature of `task_sampling=temperature`: 1 is proportional, ∞ uniform."}
    )
    phase_parallel: str = field(
        default="off",
        metadata={
            "help": "`on`: groups of processes train different tasks at once and exchange each δ once an epoch, with "
            "per-device batch × accumulation × group size rows per step; `auto`: where that is possible; `off`: all "
            "processes train one task after another, data-parallel."
        },
    )
    phase_group_size: int | None = field(
        default=None,
        metadata={
            "help": "Processes per group of `phase_parallel`. Default: the fewest that leave no group without a task."
        },
    )
    eval_auxiliaries: bool = field(
        default=False, metadata={"help": "Whether `evaluate()` scores the auxiliary tasks beside the target."}
    )

    def __post_init__(self) -> None:
        refuse_deepspeed_launch()
        super().__post_init__()
        if self.method not in METHODS:
            raise ValueError(f"unknown method {self.method!r}: pass one of {', '.join(METHODS)}")
        METHODS[self.method].check_available()
        read_options(METHODS[self.method].Options, self.method_kwargs, self.method)
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}={getattr(self, name)!r}: pass one of {', '.join(choices)}")
        self._require("delta_fraction", 0 < self.delta_fraction <= 1, "a share in (0, 1]")
        self._require("joint_fraction", 0 <= self.joint_fraction < 1, "a share in [0, 1)")
        self._require("alpha_holdout_fraction", 0 < self.alpha_holdout_fraction < 1, "a share in (0, 1)")
        self._require("max_phase_steps", self.max_phase_steps is None or self.max_phase_steps > 0, "a positive number")
        self._require(
            "phase_group_size", self.phase_group_size is None or self.phase_group_size > 0, "a positive number"
        )
        self._require(
            "phase_group_size",
            self.phase_group_size is None or self.phase_parallel != "off",
            "it together with phase_parallel='on'",
        )
        self._require("alpha_steps", self.alpha_steps >= 0, "a number of steps, 0 or more")
        self._require("alpha_learning_rate", self.alpha_learning_rate > 0, "a positive step size")
        self._require("alpha_batch_size", self.alpha_batch_size > 0, "a positive number of rows")
        self._require("sampling_temperature", self.sampling_temperature > 0, "a positive temperature")
        self._require("max_length", self.max_length is None or self.max_length > 0, "a positive number of tokens")
        self._require("min_task_weight", self.min_task_weight >= 0, "0 or more: a negative weight would be ascent")
        self._require(
            "max_task_weight",
            self.max_task_weight is None or self.max_task_weight >= max(self.min_task_weight, 1.0),
            "1 or more, and no less than min_task_weight (weights start at 1)",
        )
        self._require("min_task_weight", self.min_task_weight <= 1, "at most 1, where weights start")
        self._check_alpha()
        self._check_pruning()
        self.alpha_init = str(self.alpha_init)
        if self.alpha_init != "mean":
            try:
                valid = 0 < float(self.alpha_init) < float("inf")
            except ValueError:
                valid = False
            self._require("alpha_init", valid, "a number above 0, or 'mean' for 1/T")
        if self.normalize_task_weights is None:
            self.normalize_task_weights = self.weight_applies_to == "learning_rate"

    def _check_alpha(self) -> None:
        self._require("alpha_l1", self.alpha_l1 >= 0, "0 or more: a negative pull would push")
        self._require("alpha_l2", self.alpha_l2 >= 0, "0 or more: a negative pull would push")
        self._require(
            "alpha_optimizer",
            self.alpha_objective != "metric" or self.alpha_optimizer == "gradient_free",
            "'gradient_free' with alpha_objective='metric', which has no gradient, or alpha_objective='loss'",
        )
        self._require(
            "alpha_l1",
            self.alpha_l1 == 0 or self.alpha_optimizer != "lbfgs",
            "alpha_l2 instead: alpha_optimizer='lbfgs' cannot work with the kink of |α − start|",
        )
        self._require(
            "alpha_data",
            self.alpha_data != "test" or (METHODS[self.method].fits_alpha and self.alpha_objective == "entropy"),
            "it together with alpha_objective='entropy' of alphavil: labels of test rows must not be looked at",
        )

    def _check_pruning(self) -> None:
        self._require("weight_average", 0 <= self.weight_average < 1, "a share in [0, 1)")
        self._require("prune_patience", self.prune_patience > 0, "a positive number of epochs")
        if self.prune_below is None:
            return
        self._require("prune_below", self.prune_below < 1, "less than 1, where weights start")
        self._require(
            "prune_below",
            self.prune_below >= self.min_task_weight,
            f"at least min_task_weight={self.min_task_weight}, below which no weight falls",
        )
        self._require(
            "prune_below",
            self.prune_below > self.min_task_weight or self.weight_average == 0,
            f"more than min_task_weight={self.min_task_weight}, which a moving average (weight_average) only nears",
        )

    def _require(self, name: str, valid: bool, wanted: str) -> None:
        if not valid:
            raise ValueError(f"{name}={getattr(self, name)!r}: pass {wanted}")

    @property
    def resolved_data_seed(self) -> int:
        """`int`: `data_seed`, or `seed` where none is given: the seed of row draws, mixtures and meta batches."""
        return self.seed if self.data_seed is None else self.data_seed
