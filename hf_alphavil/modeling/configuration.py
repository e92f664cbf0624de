"""The configuration of a multitask model."""

from __future__ import annotations

import copy
from typing import Any

from transformers import AutoConfig, BertConfig, PreTrainedConfig

from ..kinds import find_kind
from .tasks import check_tasks


class MultitaskConfig(PreTrainedConfig):
    """
    The configuration of a [`MultitaskModel`]: the configuration of the encoder and the description of every head.

    Args:
        encoder (`PreTrainedConfig` or `dict`, *optional*, defaults to a `BertConfig`):
            Configuration of the shared encoder.
        tasks (`dict[str, dict]`, *optional*, defaults to no tasks):
            Task name to head description, in the order of the heads: `kind` (a key of `KINDS`), `labels` (the label
            names in id order, or `None`) and `problem_type` (*optional*; for sequence classification
            `"single_label_classification"`, the default, or `"multi_label_classification"`).
        kwargs (`dict`, *optional*): Passed on to `PreTrainedConfig`.

    Raises:
        TypeError, ValueError: If the description of a task is invalid, see [`check_tasks`].

    Example:

    ```python
    config = MultitaskConfig(
        encoder=AutoConfig.from_pretrained("google-bert/bert-base-cased"),
        tasks={"rte": {"kind": "sequence_classification", "labels": ["entailment", "not_entailment"]}},
    )
    ```
    """

    model_type = "hf_alphavil"
    sub_configs = {"encoder": AutoConfig}  # noqa: RUF012 (as transformers declares it)

    def __init__(
        self, encoder: PreTrainedConfig | dict[str, Any] | None = None, tasks: Any = None, **kwargs: Any
    ) -> None:
        if encoder is None:
            encoder = BertConfig()
        elif isinstance(encoder, dict):
            encoder = AutoConfig.for_model(**encoder)
        self.encoder = encoder
        # The base class passes these on to sub-configurations. None would erase the encoder's values.
        for option in ("attn_implementation", "experts_implementation"):
            kwargs.setdefault(option, getattr(encoder, f"_{option}", None))
        self.tasks = check_tasks({} if tasks is None else tasks)
        super().__init__(**kwargs)

    def task_config(self, name: str) -> PreTrainedConfig:
        """
        The native configuration of one task: a copy of the encoder's, with the task's labels and problem type.

        Args:
            name (`str`): Task name.

        Returns:
            `PreTrainedConfig`: A configuration of the same class as the encoder's.

        Raises:
            ValueError: If there is no such task.
        """
        if name not in self.tasks:
            raise ValueError(f"unknown task {name!r}, known tasks are {list(self.tasks)}")
        head = self.tasks[name]
        config = copy.deepcopy(self.encoder)
        config.architectures = None
        find_kind(head["kind"]).configure(config, head["labels"], head["problem_type"])
        return config

    def get_text_config(self, decoder: bool | None = None, encoder: bool | None = None) -> PreTrainedConfig:
        return self.encoder.get_text_config(decoder=decoder, encoder=encoder)

    def to_dict(self) -> dict[str, Any]:
        output = super().to_dict()
        # A list keeps the order of the heads, since JSON configurations have sorted keys. The order of the heads is
        # the order of the parameters, on which the optimizer's state depends.
        output["tasks"] = [{"name": name, **head} for name, head in copy.deepcopy(self.tasks).items()]
        # Removed here too, as at the top level: it may be a path on the machine that trained the model.
        output["encoder"].pop("_name_or_path", None)
        return output

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        model_type = config_dict.get("model_type", cls.model_type)
        if model_type != cls.model_type:
            raise ValueError(
                f"this is the checkpoint of a {model_type!r} model, not of a multitask model. To put task heads on it "
                "use MultitaskModel.from_encoder(name_or_path, tasks=...)"
            )
        return super().from_dict(config_dict, **kwargs)

    # These belong to the encoder's configuration, but Trainer and the base classes read and write them on the model's.

    @property
    def tie_word_embeddings(self) -> bool:
        return getattr(self.encoder, "tie_word_embeddings", False)

    @tie_word_embeddings.setter
    def tie_word_embeddings(self, value: bool) -> None:
        self.encoder.tie_word_embeddings = value  # type: ignore[attr-defined]

    @property
    def use_cache(self) -> bool:
        return getattr(self.encoder, "use_cache", False)

    @use_cache.setter
    def use_cache(self, value: bool) -> None:
        self.encoder.use_cache = value  # type: ignore[attr-defined]

    @property
    def pad_token_id(self) -> int | None:
        return getattr(self.get_text_config(), "pad_token_id", None)

    @pad_token_id.setter
    def pad_token_id(self, value: int | None) -> None:
        self.get_text_config().pad_token_id = value  # type: ignore[attr-defined]

    @property
    def keys_to_ignore_at_inference(self) -> list[str]:
        return getattr(self.encoder, "keys_to_ignore_at_inference", ["past_key_values"])


AutoConfig.register(MultitaskConfig.model_type, MultitaskConfig, exist_ok=True)
