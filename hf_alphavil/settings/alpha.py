"""Settings of the α step: what α minimises, on which rows, and how."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from .checks import require, require_choices


@dataclass
class AlphaArguments:
    """How α is fitted after an epoch's phases: objective, rows, optimizer, penalty and the parameters it scales."""

    help_title: ClassVar[str] = "αVIL: the α step"  # in `--help`

    alpha_steps: int = field(
        default=10,
        metadata={
            "help": "S: number of steps on α in every epoch. With `lbfgs` it is the maximum number of iterations, "
            "with `secant` that of linearisations, of which there are at most 2. "
            "With `gradient_free` and n values of α it means about S·(n + 1) evaluations, as many as finite "
            "differences would take."
        },
    )
    alpha_learning_rate: float = field(
        default=0.1,
        metadata={
            "help": "Step size of α. With `sgd`, gradients are divided by the largest norm so far of an epoch's first "
            "α gradient. The first step of an epoch then moves α by at most this much, whatever the scale of the "
            "loss. With `gradient_free` and `secant`, α stays within S times this distance of its start. `lbfgs` "
            "chooses its own step sizes."
        },
    )
    alpha_tolerance: float = field(
        default=0.0,
        metadata={
            "help": "With `sgd` and `adam`, α's steps end early once two of them together have lowered the objective "
            "by less than this share of its value. Needs an `alpha_batch_size` that covers the meta set. 0 takes all "
            "steps."
        },
    )
    alpha_optimizer: str = field(
        default=None,  # type: ignore[assignment]  # filled in by `alphavil_preset`
        metadata={
            "help": "Optimizer of α, fresh each epoch: `sgd` or `adam` on batches of the meta set; `lbfgs` (SciPy's), "
            "`gradient_free` (SciPy's DIRECT, at most 20 values of α) or `secant` (logits that are linear in α, from "
            "forward passes alone, at most 32 values of α) on its first 512 rows; or `auto`: `secant` if the target's "
            "loss allows it, else `sgd` (`gradient_free` for a metric). Default: `auto`, and `sgd` with "
            "alphavil_preset=paper.",
            "choices": ("auto", "sgd", "adam", "lbfgs", "gradient_free", "secant"),
        },
    )
    alpha_objective: str = field(
        default="loss",
        metadata={
            "help": "What α minimises on the meta set: the target's `loss` (the paper's objective), its negated main "
            "`metric` (only with `alpha_optimizer=gradient_free`), or the `entropy` of its predictions, which needs "
            "no labels (as in AdaMerging, arXiv 2310.02575).",
            "choices": ("loss", "metric", "entropy"),
        },
    )
    alpha_granularity: str = field(
        default="task",
        metadata={
            "help": "One α per `task` (as in the paper), or one per task and transformer `layer` of the encoder. With "
            "`layer`, each other child of the encoder (such as the embeddings) also has its own α, all heads together "
            "have one, and a task's weight follows the mean of the encoder's α.",
            "choices": ("task", "layer"),
        },
    )
    alpha_l1: float = field(
        default=0.0,
        metadata={
            "help": "Penalty on the distance of α from its start: adds this times Σ|α − start| to the objective, "
            "summed over tasks and averaged over a task's layers. Not with `lbfgs` and `secant`."
        },
    )
    alpha_l2: float = field(
        default=0.0, metadata={"help": "Like `alpha_l1`, with Σ(α − start)². With every optimizer."}
    )
    alpha_init: str = field(
        default="1", metadata={"help": "Start of every α in each epoch: a number above 0, or `mean` for 1/T."}
    )
    alpha_min: float | None = field(
        default=None, metadata={"help": "Least value of every α, at most its start. Default: none."}
    )
    alpha_max: float | None = field(
        default=None, metadata={"help": "Greatest value of every α, at least its start. Default: none."}
    )
    alpha_batch_size: int = field(
        default=64, metadata={"help": "Rows of the meta set per α step, over all processes."}
    )
    alpha_data: str = field(
        default="train_holdout",
        metadata={
            "help": "Rows on which α is fitted (the meta set): `train_holdout` (a held-out part of the target's "
            "training rows), `train` (the training rows themselves), `validation` (as in the paper; the "
            "validation score is then optimistic) or `test` (the inputs of the test rows, only with "
            "`alpha_objective=entropy`).",
            "choices": ("train_holdout", "train", "validation", "test"),
        },
    )
    alpha_holdout_fraction: float = field(
        default=None,  # type: ignore[assignment]  # filled in by `alphavil_preset`
        metadata={
            "help": "Fraction of the target's training rows that `alpha_data=train_holdout` holds out. Default: 0.3, "
            "and 0.1 with alphavil_preset=paper."
        },
    )
    alpha_acceptance: str = field(
        default="fit",
        metadata={
            "help": "Rows on which the fitted α is compared with its start, which it must not be worse than: those of "
            "the `fit`, or the `held_out` half of the meta set, on which α is then not fitted.",
            "choices": ("fit", "held_out"),
        },
    )
    alpha_applies_to: str = field(
        default="all",
        metadata={
            "help": "Parameters that α scales: `all`, or only the `encoder` (heads are then merged with α = 1).",
            "choices": ("all", "encoder"),
        },
    )
    alpha_autocast: bool = field(
        default=False,
        metadata={
            "help": "Whether the α step's passes use bf16 autocast in a `bf16` run. Parameters, deltas, gradients and "
            "sums stay float32. Without `bf16`, also with `fp16`, passes are float32."
        },
    )

    measure_contributions: bool = field(
        default=True,
        metadata={
            "help": "Whether each epoch measures what the merge would lose without each task's δ: the target's loss "
            "on up to 512 rows of the meta set, by a forward pass per task (none with `secant` and one α per task). "
            "Verdicts on which task helped need it. Never with `alpha_objective=entropy`."
        },
    )
    per_device_meta_batch_size: int | None = field(
        default=None,
        metadata={
            "help": "Rows of the meta set per device and forward pass. More rows are faster on a GPU and take more "
            "memory; results differ by rounding (more for labels of words). Default: per_device_train_batch_size."
        },
    )

    def check_alpha(self) -> None:
        """
        Checks choices, ranges and combinations.

        Raises:
            ValueError: If a value is not allowed.
        """
        require_choices(self, AlphaArguments)
        require(self, "alpha_steps", 0 <= self.alpha_steps <= 2**20, "a number of steps, 0 or more, and at most 2**20")
        require(self, "alpha_learning_rate", self.alpha_learning_rate > 0, "a positive step size")
        require(self, "alpha_batch_size", self.alpha_batch_size > 0, "a positive number of rows")
        require(
            self,
            "per_device_meta_batch_size",
            self.per_device_meta_batch_size is None or self.per_device_meta_batch_size > 0,
            "a positive number of rows, or leave it out",
        )
        require(self, "alpha_tolerance", 0 <= self.alpha_tolerance < 1, "a share in [0, 1); 0 takes all α steps")
        require(self, "alpha_holdout_fraction", 0 < self.alpha_holdout_fraction < 1, "a share in (0, 1)")
        require(self, "alpha_init", _is_start(self.alpha_init), "a number above 0, or 'mean' for 1/T")
        low, high = self.alpha_min, self.alpha_max
        require(self, "alpha_min", low is None or high is None or low < high, f"less than alpha_max={high}")
        for name, penalty in (("alpha_l1", self.alpha_l1), ("alpha_l2", self.alpha_l2)):
            require(self, name, penalty >= 0, "0 or more: a negative penalty would reward distance from α's start")
        require(
            self,
            "alpha_optimizer",
            self.alpha_objective != "metric" or self.alpha_optimizer in ("auto", "gradient_free"),
            "'gradient_free' with alpha_objective='metric', which has no gradient, or alpha_objective='loss'",
        )
        require(
            self,
            "alpha_l1",
            self.alpha_l1 == 0 or self.alpha_optimizer not in ("lbfgs", "secant"),
            f"alpha_l2 instead: alpha_optimizer={self.alpha_optimizer!r} cannot handle the kink of |α − start|",
        )
        require(
            self,
            "alpha_optimizer",
            self.alpha_objective != "entropy" or self.alpha_optimizer != "secant",
            "'sgd', 'adam' or 'lbfgs' with alpha_objective='entropy', which is not convex in the logits, or "
            "alpha_objective='loss'",
        )


def _is_start(alpha_init: str) -> bool:
    if alpha_init == "mean":
        return True
    try:
        return 0 < float(alpha_init) < float("inf")
    except ValueError:
        return False
