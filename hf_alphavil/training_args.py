"""The arguments of `MultitaskTrainer`."""

from __future__ import annotations

from dataclasses import dataclass, field

from .distributed.refusals import NO_DEEPSPEED, refuse_deepspeed_launch
from .distributed.timeout import apply_timeout
from .methods import FORMER_METHODS, METHODS
from .methods.options import read_options
from .settings import MultitaskSettings
from .settings.checks import require
from .settings.suggestion import did_you_mean


@dataclass
class MultitaskTrainingArguments(MultitaskSettings):
    """
    `TrainingArguments` with the settings of multitask training and αVIL (arXiv 2405.07769).

    All fields of `transformers.TrainingArguments` keep their meaning. Methods with several phases round `max_steps`
    and a fractional `num_train_epochs` up to whole epochs: a method that forks has a trained model only after it has
    merged an epoch's deltas. Other methods stop at the given step, and the history has no entry for the unfinished
    epoch. Where the paper leaves a decision open, the default is ours; `docs/settings.md` gives its source and reason.

    Parameters:
        > Tasks (`settings/task.py`)

        target_task (`str`): The task that the auxiliaries should help. Required with several tasks.
        max_length (`int`, *optional*, defaults to 128): Tokens per sequence.
        regression_scale (`str`, *optional*, defaults to `"standardize"`): The scale on which regressions are
            trained: `standardize`, labels of mean 0 and variance 1, or `none`, that of their labels, as Trainer does.
        eval_auxiliaries (`bool`, *optional*, defaults to `False`): Whether `evaluate()` also scores the auxiliaries.

        > Method (`settings/method.py`)

        method (`str`, *optional*, defaults to `"alphavil"`): A name in `METHODS`.
        alphavil_preset (`str`, *optional*, defaults to `"joint"`): αVIL's settings where you give none: `joint` or
            `paper`, the paper's algorithm.
        method_kwargs (`dict` or JSON `str`, *optional*): The method's options.

        > α (`settings/alpha.py`)

        alpha_steps (`int`, *optional*, defaults to 10): Steps on α per epoch.
        alpha_learning_rate (`float`, *optional*, defaults to 0.1): Step size. With `sgd`, its unit adapts to the loss.
        alpha_tolerance (`float`, *optional*, defaults to 0.0): `sgd` and `adam` end the steps once two of them have
            lowered the objective by less than this share of its value. 0 takes all steps, as the paper does.
        alpha_optimizer (`str`, *optional*): `sgd` (the paper's), `adam`, `lbfgs`, `gradient_free`, `secant` or `auto`.
            Defaults to `auto`, with the preset `paper` to `sgd`.
        alpha_objective (`str`, *optional*, defaults to `"loss"`): `loss` (the paper's), `metric` or `entropy`.
        alpha_granularity (`str`, *optional*, defaults to `"task"`): One α per `task` (the paper's) or per `layer`.
        alpha_l1, alpha_l2 (`float`, *optional*, defaults to 0.0): Penalties on α's distance from its start.
        alpha_init (`str`, *optional*, defaults to `"1"`): Start of α: a number above 0, or `mean` for 1/T. With 1, α
            starts at the plain sum of the deltas.
        alpha_min, alpha_max (`float`, *optional*): Bounds of every α.
        alpha_batch_size (`int`, *optional*, defaults to 64): Rows of the meta set per α step.
        alpha_data (`str`, *optional*, defaults to `"train_holdout"`): Rows that α is fitted on: `train_holdout`, which
            keeps validation scores honest, `train`, `validation` (the paper's) or `test`.
        alpha_holdout_fraction (`float`, *optional*): Fraction of the target's rows held out for α. Defaults to 0.3,
            with the preset `paper` to 0.1.
        alpha_acceptance (`str`, *optional*, defaults to `"fit"`): Rows on which α is accepted: those of the `fit`, or
            a `held_out` half of the meta set.
        alpha_applies_to (`str`, *optional*, defaults to `"all"`): Parameters that α scales: `all` (the paper's) or
            only the `encoder`.
        alpha_autocast (`bool`, *optional*, defaults to `False`): Whether the α step's passes are autocast in a `bf16`
            run.
        measure_contributions (`bool`, *optional*, defaults to `True`): Whether each epoch measures what every task's δ
            saves the target, for verdicts on which task helped.
        per_device_meta_batch_size (`int`, *optional*): Rows of the meta set per device and forward pass. Defaults to
            `per_device_train_batch_size`.

        > Task weights (`settings/weights.py`)

        weight_applies_to (`str`, *optional*, defaults to `"learning_rate"`): What the weight scales: `learning_rate`,
            because Adam would cancel a factor of the loss, or `loss`.
        task_weights (`dict`, JSON `str` or `list` of `task=weight`, *optional*): The weights with which tasks start; 1
            for other tasks. `multitask` keeps them.
        min_task_weight (`float`, *optional*, defaults to 0.1): Lower bound. A weight of 0 would never recover.
        min_target_weight (`float`, *optional*): Lower bound of the target's weight, after normalisation too. The
            default is 1, and with `alphavil_preset="paper"` that of all tasks.
        max_task_weight (`float`, *optional*): Upper bound.
        max_weight_change (`float`, *optional*): The greatest change of a weight in an epoch.
        normalize_task_weights (`str`, *optional*): How weights are normalised: `none`, to mean 1 over `all` tasks or
            over the `auxiliaries`, or by the `target`. The default is `all` for weights of the learning rate, and
            `none` for weights of the loss.
        weight_average (`float`, *optional*, defaults to 0.0): β of a moving average of the weights.
        prune_below (`float`, *optional*): Weight at or below which an auxiliary is pruned.
        prune_patience (`int`, *optional*, defaults to 2): Epochs in a row at that weight before it is pruned.

        > Phases (`settings/phases.py`)

        delta_fraction (`float`, *optional*, defaults to 1.0): Fraction of rows that an epoch samples.
        max_phase_steps (`int`, *optional*): Maximum steps of a task in an epoch.
        max_auxiliaries_per_epoch (`int`, *optional*): Maximum number of auxiliaries that an epoch trains, chosen by
            upper confidence bounds on their contributions. Defaults to all.
        phase_lengths (`str`, *optional*, defaults to `"proportional"`): How tasks share the steps of separate phases:
            `proportional` to their rows, as in the paper, `equal` or by `temperature`.
        joint_fraction (`float`, *optional*): Fraction of steps in a joint phase. Defaults to 0.8, with the preset
            `paper`, whose algorithm has none, to 0.
        target_phase (`str`, *optional*, defaults to `"fork"`): Where the target's own steps are: a `fork`, the `last`
            phase of an epoch, after the merge, or `both`.
        merge_deltas (`bool`, *optional*, defaults to `True`): Whether deltas are merged; otherwise they only set the
            weights of a joint phase.
        rounds_per_epoch (`int`, *optional*, defaults to 1): Rounds of forks and merge in an epoch.
        final_target_epochs (`int`, *optional*): Last epochs, which train the target alone, on its held-out rows too.
            Defaults to a third of the run's, with the preset `paper` to 0.
        phase_optimizer_state (`str`, *optional*, defaults to `"per_task"`): `per_task` keeps every task's optimizer
            state between epochs; `reset` starts each phase without state.
        optimizer_state_device (`str`, *optional*, defaults to `"device"`): Where `per_task` keeps optimizer states
            between phases: on the parameters' `device` or in `cpu` memory.
        optimizer_state_dtype (`str`, *optional*, defaults to `"float32"`): Data type of optimizer states between
            phases: `float32` or `bfloat16`, which rounds them.
        delta_device (`str`, *optional*, defaults to `"device"`): Where θ0 and deltas are kept: on the parameters'
            `device` or in `cpu` memory.
        delta_dtype (`str`, *optional*, defaults to `"float32"`): Data type of stored deltas: `float32` or `bfloat16`,
            which rounds them.
        phase_parallel (`str`, *optional*, defaults to `"off"`): `off` trains each task on all processes; `on` trains
            different tasks on different groups of processes; `auto` is `on` where that is possible.
        phase_group_size (`int`, *optional*): Processes per group of `phase_parallel`.

        > Sampling of tasks and rows (`settings/sampling.py`)

        task_sampling (`str`, *optional*, defaults to `"proportional"`): How joint phases mix tasks: `proportional` to
            their rows, `uniform`, by `temperature` or by task `weights`.
        sampling_temperature (`float`, *optional*, defaults to 2.0): For `task_sampling="temperature"` and
            `phase_lengths="temperature"`: 1 is proportional, infinity is uniform.
        length_grouping (`str`, *optional*, defaults to `"auto"`): Whether rows of similar length share a batch: `auto`
            where a `datasets.Dataset` or a list holds `input_ids` or lengths, `on` for every dataset, `off` never.

        > Hugging Face Hub (`settings/hub.py`)

        hub_export (`str`, *optional*): What the root of the repository is: the `target` as an ordinary folder of its
            Auto class, with the multitask model in `multitask/`, or the `multitask` model alone. Defaults to `target`
            for a [`MultitaskModel`], else to `multitask`.
        model_card_template (`str`, *optional*): File with a Jinja template for the model card. Defaults to that of
            this package.

    Raises:
        ValueError: If a value is not allowed; the message names the field, the value and what to pass instead.
        ImportError: If the method needs a library that is not installed.
    """

    method: str = field(default="alphavil", metadata={"help": f"The training method: one of {', '.join(METHODS)}."})

    def __post_init__(self) -> None:
        refuse_deepspeed_launch()  # before TrainingArguments asks the user to install it
        if self.deepspeed:
            raise ValueError(NO_DEEPSPEED)
        super().__post_init__()
        apply_timeout(self.ddp_timeout_delta)

    def settle(self) -> None:
        super().settle()
        if self.method in FORMER_METHODS:
            raise ValueError(f"unknown method {self.method!r}: {FORMER_METHODS[self.method]}")
        if self.method not in METHODS:
            known = ", ".join(METHODS)
            raise ValueError(
                f"unknown method {self.method!r}: pass one of {known}.{did_you_mean(self.method, METHODS)}"
            )
        METHODS[self.method].check_available()
        read_options(METHODS[self.method].Options, self.method_kwargs, self.method)
        require(
            self,
            "alpha_data",
            self.alpha_data != "test" or (METHODS[self.method].fits_alpha and self.alpha_objective == "entropy"),
            "it together with alpha_objective='entropy' and method='alphavil': labels of test rows must not be read",
        )
