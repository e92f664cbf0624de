"""All settings of a multitask run, with the checks that do not need the methods."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from transformers import TrainingArguments

from .alpha import AlphaArguments
from .changed import changed_fields, unchanged_fields
from .checks import require
from .hub import HubArguments
from .method import MethodArguments
from .phases import PhaseArguments
from .presets import PRESETS, preset_values
from .sampling import SamplingArguments
from .task import TaskArguments
from .task_weights import read_task_weights
from .trainer_fields import check_json_fields
from .weights import WeightArguments

#: What a run sets by itself if the user has not.
SET_BY_A_RUN = (
    "ddp_find_unused_parameters", "average_tokens_across_devices", "dataloader_pin_memory", "do_train", "do_eval",
    "target_task",
)  # fmt: skip


# A dataclass takes the fields of its last base first: `output_dir` is the first positional argument, as in
# TrainingArguments, and the groups appear in `--help` from tasks to sampling.
@dataclass
class MultitaskSettings(
    HubArguments,
    SamplingArguments,
    PhaseArguments,
    WeightArguments,
    AlphaArguments,
    MethodArguments,
    TaskArguments,
    TrainingArguments,
):
    """
    `transformers.TrainingArguments` and the groups of multitask settings.

    Modules that must not import the registry of methods use this class. Users create a
    [`MultitaskTrainingArguments`], which also checks what depends on the method.

    Raises:
        ValueError: If a value is not allowed; the message names the field, the value and what to pass instead.
    """

    #: Further settings of a script, by name, which the model card lists beside these.
    script_settings: ClassVar[Mapping[str, Any]] = {}

    def __post_init__(self) -> None:
        # Without a token, which `training_args.bin` would hold.
        names = [entry.name for entry in fields(self) if entry.name != "hub_token"]
        given = changed_fields(self)
        check_json_fields(self)
        super().__post_init__()
        self._given, self._derived = given, {name: getattr(self, name) for name in names}
        self.settle()

        as_by_default = unchanged_fields(self)  # such as `debug`, where the command line's `[]` means its ""
        self._given = {name: given[name] for name in names if name in given and name not in as_by_default}
        self._derived = {name: getattr(self, name) for name in names}

    def settle(self) -> None:
        """
        Brings the settings into their form, with the preset's values for those that the user has not given, and checks
        them. A trainer does so again, because they may have been set since.

        Raises:
            ValueError: If a value is not allowed.
        """
        self.alpha_init = str(self.alpha_init)  # a YAML or JSON file may hold a number
        self.task_weights = read_task_weights(self.task_weights)
        self.check_method()
        values = preset_values(self.method, self.alphavil_preset)
        self.derive(**{name: value for name, value in values.items() if self.is_derived(name)})
        self.check_tasks()
        self.check_alpha()
        self.check_weights()
        self.check_phases()
        self.check_sampling()
        self.check_hub()
        require(
            self,
            "max_auxiliaries_per_epoch",
            self.max_auxiliaries_per_epoch is None
            or (self.measure_contributions and self.alpha_objective != "entropy"),
            "None: contributions choose the auxiliaries, and measure_contributions=False or "
            "alpha_objective='entropy' measures none",
        )
        is_grouped = self.train_sampling_strategy == "group_by_length"
        instead = "'on' or 'auto' with train_sampling_strategy='group_by_length'"
        require(self, "length_grouping", not is_grouped or self.length_grouping != "off", instead)

    def changed(self) -> dict[str, Any]:
        """`dict[str, Any]`: The arguments that the user has set, here or later, to other values than the defaults."""
        values = self.to_dict()
        return {
            name: values[name]
            for name, derived in self._derived.items()
            if name in self._given or (getattr(self, name) != derived and name not in SET_BY_A_RUN)
        }

    @property
    def given(self) -> Mapping[str, Any]:
        """`Mapping[str, Any]`: The arguments that differ from the defaults, as the user passed them."""
        return self._given

    def is_derived(self, name: str) -> bool:
        """
        Tells whether a setting has a value that nobody gave: its default, or what the arguments or a run made of it.

        Args:
            name (`str`): The setting.
        """
        return name not in self._given and getattr(self, name) == self._derived[name]

    def as_given(self) -> dict[str, Any]:
        """`dict[str, Any]`: The arguments, with `None` again where a preset or the tasks have set another value."""
        replaced = (*PRESETS["paper"], "metric_for_best_model", "greater_is_better")
        values = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.init}
        return values | {name: None for name in replaced if self.is_derived(name)}

    def derive(self, **values: Any) -> None:
        """
        Sets settings to values that follow from others. Those that the user has not given are given no more for that.

        Args:
            values (`Any`): Values by setting.
        """
        for name, value in values.items():
            setattr(self, name, value)
        self._derived = {**self._derived, **values}

    def forget(self, names: Collection[str]) -> None:
        """
        Forgets that the user has given settings, which something else decides, and has said so.

        Args:
            names (`Collection[str]`): The settings.
        """
        self._given = {name: value for name, value in self._given.items() if name not in names}

    @property
    def resolved_data_seed(self) -> int:
        """`int`: The seed of row draws, mixtures and meta batches: `data_seed`, or `seed` if it is not set."""
        return self.seed if self.data_seed is None else self.data_seed

    @property
    def resolved_length_grouping(self) -> str:
        """`str`: `length_grouping`, or `on` if `train_sampling_strategy` asks for it."""
        return "on" if self.train_sampling_strategy == "group_by_length" else self.length_grouping

    @property
    def resolved_normalize_task_weights(self) -> str:
        """`str`: `normalize_task_weights`; if it is not set, `all` for weights of the learning rate, else `none`."""
        if self.normalize_task_weights is None:
            return "all" if self.weight_applies_to == "learning_rate" else "none"
        return self.normalize_task_weights
