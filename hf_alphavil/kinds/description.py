"""How a kind of task is described to people: in reports on data, on the model card and in tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from .spec import TaskSpec

if TYPE_CHECKING:
    from datasets import Dataset


#: The texts in the example of a pipeline call, by how many a row has.
_TEXTS = {
    1: '"The text."',
    2: '{"text": "The first text.", "text_pair": "The second text."}',
    None: '{"text": "The first text.", "text_pair": "The second text, if the task has two."}',
}


class KindDescription:
    """A kind's name and its descriptions: a part of [`TaskKind`]."""

    #: The kind's name in settings, YAML files and head descriptions.
    name: ClassVar[str]
    #: The task's id on the Hub, such as `"text-classification"`.
    hub_task: ClassVar[str]
    #: Whether `pipeline()` runs models of this kind.
    has_pipeline: ClassVar[bool] = True
    #: The model card's example of a pipeline call, further options of the pipeline, and a remark below the example.
    #: The card replaces `TEXTS` by an example of a row's texts.
    pipeline_call: ClassVar[str] = "classify(TEXTS)"
    pipeline_options: ClassVar[str] = ""
    pipeline_remark: ClassVar[str] = ""

    @property
    def words(self) -> str:
        """`str`: The kind's name in a sentence."""
        return self.name.replace("_", " ")

    def labels_in_words(self, labels: Sequence[str]) -> str:
        """How many labels there are, in words."""
        return f"{len(labels)} labels"

    def label_in_words(self, label: Any, labels: Sequence[str] | None) -> str:
        """A row's label, for a report on the data."""
        assert labels is not None
        return f"label {labels[label]}"

    def labels_summary(self, values: Sequence[Any]) -> str:
        """The distribution of labels that are not classes, for a report on the data."""
        return ""

    def warning_about(self, spec: TaskSpec, rows: Dataset) -> str | None:
        """A warning about rows that look odd but may be intended, for a report on the data."""
        return None

    def usage(self, name: str, place: str, num_texts: int | None = None) -> str:
        """
        Explains how to use an exported task, in Markdown for the model card.

        Args:
            name (`str`): The task.
            place (`str`): The exported model's folder or id.
            num_texts (`int`, *optional*): How many texts a row has, 1 or 2; `None` if it is not known.
        """
        call = self.pipeline_call.replace("TEXTS", _TEXTS[num_texts])
        variable = self.pipeline_call.split("(")[0]
        return (
            f"The exported `{name}` is an ordinary Hugging Face folder. It needs nothing but `transformers`:\n\n"
            "```python\nfrom transformers import pipeline\n\n"
            f'{variable} = pipeline("{self.hub_task}", model="{place}"{self.pipeline_options})\n'
            f"print({call})\n```" + self.pipeline_remark
        )
