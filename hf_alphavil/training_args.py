"""The arguments of `MultitaskTrainer`."""

from __future__ import annotations

from dataclasses import dataclass, field

from .distributed.refusals import refuse_deepspeed_launch
from .methods import METHODS
from .methods.options import read_options
from .settings import MultitaskSettings
from .settings.checks import require


@dataclass
class MultitaskTrainingArguments(MultitaskSettings):
    """
    `TrainingArguments` with the settings of multitask training and αVIL (arXiv 2405.07769).

    All fields of `transformers.TrainingArguments` keep their meaning. Methods of several phases round `max_steps` and
    a fractional `num_train_epochs` up to whole epochs, because a method that forks has a model only after it has
    merged an epoch's deltas. The other methods stop at the given step; the history has no entry for an unfinished
    epoch. Where the paper leaves a decision open, the default is ours: `docs/settings.md` gives source and reason.

    Parameters:
        > Tasks (`settings/task.py`)

        target_task (`str`): The task to help. Required with several tasks.
        max_length (`int`, *optional*, defaults to 128): Tokens per sequence.
        eval_auxiliaries (`bool`, *optional*, defaults to `False`): Whether `evaluate()` also scores the auxiliaries.

        > Method (`settings/method.py`)

        method (`str`, *optional*, defaults to `"alphavil"`): A name in `METHODS`; the default is the paper's method.
        method_kwargs (`dict` or JSON `str`, *optional*): The method's options.

        > α (`settings/alpha.py`)

        alpha_steps (`int`, *optional*, defaults to 10): Steps on α per epoch.
        alpha_learning_rate (`float`, *optional*, defaults to 0.1): Step size, in units that fit any scale of the loss.
        alpha_optimizer (`str`, *optional*, defaults to `"sgd"`): The paper's; or `adam`, `lbfgs`, `gradient_free`.
        alpha_objective (`str`, *optional*, defaults to `"loss"`): The paper's; or `metric`, `entropy`.
        alpha_granularity (`str`, *optional*, defaults to `"task"`): The paper's; or `layer`.
        alpha_l1, alpha_l2 (`float`, *optional*, defaults to 0.0): Penalties on α's distance from its start.
        alpha_init (`str`, *optional*, defaults to `"1"`): Start of α: the plain sum of deltas; or a number, `mean`.
        alpha_batch_size (`int`, *optional*, defaults to 64): Rows of the meta set per α step.
        alpha_data (`str`, *optional*, defaults to `"train_holdout"`): What α is fitted on. The default keeps
            validation scores honest; or `train`, `validation` (the paper's), `test`.
        alpha_holdout_fraction (`float`, *optional*, defaults to 0.1): Fraction of the target's rows held out for α.
        alpha_applies_to (`str`, *optional*, defaults to `"all"`): The paper's; or `encoder`.

        > Task weights (`settings/weights.py`)

        weight_applies_to (`str`, *optional*, defaults to `"learning_rate"`): Adam would cancel a factor of the loss.
        min_task_weight (`float`, *optional*, defaults to 0.1): Lower bound; a task at 0 would never come back.
        max_task_weight (`float`, *optional*): Upper bound.
        normalize_task_weights (`bool`, *optional*): By default only where the weight acts on the learning rate.
        weight_average (`float`, *optional*, defaults to 0.0): β of a moving average of the weights.
        prune_below (`float`, *optional*): Weight at or below which an auxiliary is pruned.
        prune_patience (`int`, *optional*, defaults to 2): Epochs in a row before it is pruned.

        > Phases (`settings/phases.py`)

        delta_fraction (`float`, *optional*, defaults to 1.0): Fraction of rows that an epoch samples.
        max_phase_steps (`int`, *optional*): Maximum steps of a task in an epoch.
        joint_fraction (`float`, *optional*, defaults to 0.0): Fraction of steps in a joint phase; the paper has none.
        phase_optimizer_state (`str`, *optional*, defaults to `"per_task"`): Every task keeps its own; or `reset`.
        delta_device (`str`, *optional*, defaults to `"device"`): Where deltas are kept; or `cpu`.
        delta_dtype (`str`, *optional*, defaults to `"float32"`): What deltas are kept in; or `bfloat16`, rounded.
        phase_parallel (`str`, *optional*, defaults to `"off"`): All processes train each task; or `auto`, `on`.
        phase_group_size (`int`, *optional*): Processes per group of `phase_parallel`.

        > Task sampling (`settings/sampling.py`)

        task_sampling (`str`, *optional*, defaults to `"proportional"`): How joint phases mix tasks: by their rows; or
            `uniform`, `temperature`, `weights`.
        sampling_temperature (`float`, *optional*, defaults to 2.0): For `task_sampling="temperature"`.

    Raises:
        ValueError: If a value is not allowed; the message names the field, the value and what to pass instead.
        ImportError: If the method needs a library that is not installed.
    """

    method: str = field(default="alphavil", metadata={"help": f"The training method: one of {', '.join(METHODS)}."})

    def __post_init__(self) -> None:
        refuse_deepspeed_launch()  # before TrainingArguments asks the user to install it
        super().__post_init__()
        if self.method not in METHODS:
            raise ValueError(f"unknown method {self.method!r}: pass one of {', '.join(METHODS)}")
        METHODS[self.method].check_available()
        read_options(METHODS[self.method].Options, self.method_kwargs, self.method)
        require(
            self,
            "alpha_data",
            self.alpha_data != "test" or (METHODS[self.method].fits_alpha and self.alpha_objective == "entropy"),
            "it together with alpha_objective='entropy' of alphavil: labels of test rows must not be looked at",
        )
