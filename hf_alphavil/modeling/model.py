"""The multitask model: one encoder, registered once, and the native models of all tasks."""

from __future__ import annotations

import os
from typing import Any, cast

import torch
from torch import nn
from transformers import AutoModel, PreTrainedModel

from ..kinds import find_kind
from .builder import build_native, required_encoder, take_ties
from .configuration import MultitaskConfig
from .encoder_reference import rebind_references
from .export import export_native
from .half_precision import convert_inputs_of_heads
from .loading import load_encoder, load_language_head


class MultitaskModel(PreTrainedModel):
    """
    One encoder, shared by the native Hugging Face models of all tasks.

    `encoder` holds the only copy of the base model. `tasks[name]` is the model that the task's Auto class builds for
    the encoder's architecture, such as `BertForSequenceClassification`. Instead of its own base model it has a
    reference to `encoder`. Forward pass, loss, initialisation and configuration of a task are therefore those of
    transformers.

    Args:
        config (`MultitaskConfig`): Configuration of encoder and tasks.
        encoder (`PreTrainedModel`, *optional*):
            The encoder to share. It is not copied. By default a new one with random weights is created.

    Raises:
        ValueError: If there is no task, if the architecture has no class for one of them, or if the tasks cannot share
            the encoder.
    """

    config_class = MultitaskConfig
    config: MultitaskConfig
    # Native models take **kwargs, so Trainer would expect them to divide their loss by num_items_in_batch. They ignore
    # that argument: without this line, losses and gradients would be multiplied by the accumulation steps.
    accepts_loss_kwargs = False
    # The encoder checks these itself, and its error messages contain its own name.
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    def __init__(self, config: MultitaskConfig, encoder: PreTrainedModel | None = None) -> None:
        super().__init__(config)
        base_class, arguments = required_encoder(config)
        if encoder is None:
            encoder = base_class(config.encoder, **arguments)
        elif not isinstance(encoder, base_class):
            raise ValueError(f"these tasks need a {base_class.__name__} as encoder, got a {type(encoder).__name__}")
        # The same object, so that changes to the configuration reach the layers. Only the encoder's constructor sets
        # its attention implementation, which the copies for native models need.
        config.encoder = encoder.config
        config._attn_implementation = encoder.config._attn_implementation

        self.encoder = encoder  # first: a deepcopy of the model must copy it before the references to it
        self.tasks = nn.ModuleDict()
        ties: dict[str, str] = {}
        for task, head in config.tasks.items():
            native_class = find_kind(head["kind"]).native_class(config.encoder)
            native = build_native(native_class, config.task_config(task), encoder)
            ties |= take_ties(native, task)
            self.tasks[task] = native
        convert_inputs_of_heads(self)
        self._tied_weights_keys = ties
        self._take_flags()
        self.post_init()

    @property
    def _natives(self) -> dict[str, PreTrainedModel]:
        return cast("dict[str, PreTrainedModel]", dict(self.tasks.items()))

    def _take_flags(self) -> None:
        # The base class collects the flags of direct children, such as the encoder. Native models are one level
        # deeper.
        self.main_input_name = self.encoder.main_input_name
        self.supports_gradient_checkpointing = self.encoder.supports_gradient_checkpointing
        for flag in ("_supports_sdpa", "_supports_flash_attn", "_supports_flex_attn", "_supports_attention_backend"):
            setattr(self, flag, getattr(self.encoder, flag))
        for flag in (
            "_keep_in_fp32_modules",
            "_keep_in_fp32_modules_strict",
            "_no_split_modules",
            "_skip_keys_device_placement",
            "_keys_to_ignore_on_load_missing",
            "_keys_to_ignore_on_load_unexpected",
        ):
            setattr(self, flag, set().union(*(getattr(native, flag) or () for native in self._natives.values())))
        self._keys_to_ignore_on_save = {
            f"tasks.{task}.{key}"
            for task, native in self._natives.items()
            for key in native._keys_to_ignore_on_save or ()
            if not key.startswith(native.base_model_prefix + ".")
        }

    @classmethod
    def from_encoder(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], tasks: Any, **kwargs: Any
    ) -> MultitaskModel:
        """
        Puts new task heads on a pretrained encoder.

        Args:
            pretrained_model_name_or_path (`str` or `os.PathLike`):
                A model id or a folder, of any architecture that has the Auto classes of the tasks.
            tasks (`dict[str, Task | Dataset | DatasetDict | dict]` or `list[Task]`):
                The tasks by name: an object whose `head` describes its head, a dataset whose columns say which head
                it needs, see [`~Task.from_dataset`], or the description itself, `{"kind", "labels", "problem_type"}`,
                see [`MultitaskConfig`].
            dtype (`str` or `torch.dtype`, *optional*, defaults to `torch.float32`):
                The dtype of the weights. transformers loads a checkpoint in its stored precision; here the default is
                float32, because half precision loses the small differences between two states of a model that
                multitask methods compute. `"auto"` restores the behaviour of transformers. In half precision, the
                encoder can only be the frozen base of adapters, see [`~modeling.lora.add_lora`].
            kwargs (`dict`, *optional*):
                Arguments of the encoder's `from_pretrained`: `revision`, `cache_dir`, `attn_implementation`, values of
                its configuration, ...

        Returns:
            `MultitaskModel`: The model in evaluation mode, as after `from_pretrained`. Heads have random weights.
            Heads for masked language modelling have the checkpoint's weights if it contains them.

        Raises:
            FileNotFoundError: If the folder does not exist or has no configuration.
            TypeError, ValueError: If the description of a task is invalid or the tasks cannot share the encoder.
        """
        config, encoder = load_encoder(pretrained_model_name_or_path, tasks, **kwargs)
        model = cls(config, encoder=encoder)
        for task, native in model._natives.items():
            if find_kind(config.tasks[task]["kind"]).has_pretrained_head:
                load_language_head(native, config.task_config(task), pretrained_model_name_or_path, **kwargs)
        return model.eval()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *model_args: Any, **kwargs: Any) -> Any:
        """
        Loads a saved multitask model. See `PreTrainedModel.from_pretrained` for the arguments.

        Raises:
            ValueError: If this is not the checkpoint of a multitask model.
        """
        with_info = kwargs.pop("output_loading_info", False)
        loaded: Any = super().from_pretrained(
            pretrained_model_name_or_path, *model_args, output_loading_info=True, **kwargs
        )
        model, info = loaded
        if model.encoder_parameter_names() <= set(info["missing_keys"]):
            raise ValueError(
                f"{pretrained_model_name_or_path} has no weights of the shared encoder, so it is not a checkpoint of "
                "this multitask model. To put task heads on an encoder, use MultitaskModel.from_encoder(...)"
            )
        return (model, info) if with_info else model

    def forward(
        self,
        task: str,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        choice_mask: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """
        Runs one task on a batch.

        Args:
            task (`str`): Task name. All rows of the batch belong to this task.
            input_ids, attention_mask, token_type_ids, position_ids (`torch.Tensor`, *optional*):
                Of shape `(batch, length)`, or `(batch, choices, length)` for multiple choice.
            inputs_embeds (`torch.Tensor`, *optional*):
                Of the shape of `input_ids`, with the hidden size as an additional last dimension.
            labels (`torch.Tensor`, *optional*):
                Labels for the task's native model, of shape `(batch,)`; `(batch, labels)` for multi-label
                classification; `(batch, length)` for token classification and masked language modelling.
            choice_mask (`torch.Tensor` of shape `(batch, choices)`, *optional*):
                Boolean mask of the choices that exist, for multiple choice whose rows have unequal numbers of choices.
            kwargs (`dict`, *optional*): Passed on to the native model.

        Returns:
            `ModelOutput`: The native model's output, with `loss` (if `labels` are given) and `logits`.

        Raises:
            ValueError: If there is no such task.
        """
        if task not in self.config.tasks:
            raise ValueError(f"unknown task {task!r}, known tasks are {list(self.config.tasks)}")
        named = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "position_ids": position_ids,
            "inputs_embeds": inputs_embeds,
            "labels": labels,
            "choice_mask": choice_mask,
        }
        inputs = {name: value for name, value in (named | kwargs).items() if value is not None}
        native = self._natives[task]
        # Decoders read the padding token from the native model's configuration. Trainer sets only the encoder's.
        if native.config.get_text_config().pad_token_id != self.pad_token_id:
            self.pad_token_id = self.pad_token_id
        return find_kind(self.config.tasks[task]["kind"]).forward(native, inputs)

    def encoder_parameter_names(self) -> set[str]:
        """Names of the shared encoder's parameters in `named_parameters()`. All others belong to heads."""
        return {name for name, _ in self.named_parameters() if name.startswith("encoder.")}

    def export_task(
        self,
        name: str,
        path: str | os.PathLike[str],
        processing_class: Any = None,
        state_dict: dict[str, torch.Tensor] | None = None,
    ) -> None:
        """
        Writes one task as an ordinary folder of its native class, which loads without this package.

        Args:
            name (`str`): Task name.
            path (`str` or `os.PathLike`): Folder to write to.
            processing_class (`PreTrainedTokenizerBase`, *optional*):
                A tokenizer to save beside the model, for `pipeline()`.
            state_dict (`dict[str, torch.Tensor]`, *optional*, defaults to `self.state_dict()`):
                The full weights of this model. Needed if the model's own weights are sharded.

        Raises:
            ValueError: If there is no such task, or if some of its weights are missing, as in a model with unmerged
                adapters.
        """
        state_dict = self.state_dict() if state_dict is None else state_dict
        export_native(self.config, name, path, state_dict, dtype=self.dtype, processing_class=processing_class)

    @property
    def pad_token_id(self) -> int | None:
        """`int`, *optional*: The padding token. Decoders with heads need it for batches of more than one row."""
        return self.config.pad_token_id

    @pad_token_id.setter
    def pad_token_id(self, value: int | None) -> None:
        self.config.pad_token_id = value
        for native in self._natives.values():
            native.config.get_text_config().pad_token_id = value

    def get_input_embeddings(self) -> nn.Module:
        return self.encoder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.encoder.set_input_embeddings(value)

    def resize_token_embeddings(self, *args: Any, **kwargs: Any) -> nn.Embedding:
        embeddings = self.encoder.resize_token_embeddings(*args, **kwargs)
        for native in self._natives.values():
            native.config.get_text_config().vocab_size = self.config.get_text_config().vocab_size
        self.tie_weights()
        return embeddings

    def initialize_weights(self) -> None:
        # The base class regards modules of classes outside transformers as initialised if they own no parameters. It
        # would skip what a native class does for its head as a whole (ModernBERT, T5). So every native model runs its
        # own initialisation. Weights that are loaded or already initialised are marked and stay unchanged.
        for model in (self.encoder, *self._natives.values()):
            model.initialize_weights()
        super().initialize_weights()

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "encoder" and "tasks" in self._modules:
            rebind_references(self.tasks, value)

    def _replicate_for_data_parallel(self) -> Any:
        raise NotImplementedError(
            "nn.DataParallel is not supported: all its replicas would use the first device's encoder. Start one "
            "process per device with `torchrun` or `accelerate launch`, or select one device in CUDA_VISIBLE_DEVICES"
        )


AutoModel.register(MultitaskConfig, MultitaskModel, exist_ok=True)
