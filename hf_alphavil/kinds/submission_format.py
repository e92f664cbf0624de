"""The form of a task's prediction file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from .yaml_keys import TEXT, WHOLE_NUMBER, is_list_of, one_of, yaml_key

#: How the rows of a `.jsonl` file are put together.
LAYOUTS = ("rows", "questions", "candidates")
SUFFIXES = (".tsv", ".jsonl")
#: A float64 has no more significant digits.
MAX_DECIMALS = 17
#: Bytes of a file's name. File systems take 255; writing needs some for the temporary file.
MAX_NAME_BYTES = 200


@dataclass(frozen=True)
class SubmissionFormat:
    """
    The form in which a leaderboard wants a task's test predictions.

    Args:
        file_name (`str`):
            The file's name, such as `RTE.tsv`. Its suffix (`.tsv` or `.jsonl`) selects GLUE's or SuperGLUE's format.
        labels (`tuple`, *optional*):
            What to write for each label id, in id order. Defaults to the task's label names.
        decimals (`int`, *optional*, defaults to 3):
            Decimals of a regression's scores.
        test_rows (`int`, *optional*):
            The official number of predictions: of rows, of MultiRC's answers, of ReCoRD's queries.
        layout (`str`, *optional*, defaults to `"rows"`):
            `"rows"`: a line for each row. `"questions"`, MultiRC's: one for each paragraph, with the answers to its
            questions. `"candidates"`, ReCoRD's: one for each query, with the text of the candidate that has the
            highest score.

    Raises:
        ValueError: If the file name has neither of these suffixes or cannot be a file's name, decimals are below 0 or
            above 17, or the layout is unknown.
    """

    file_name: str = field(metadata=yaml_key(TEXT, "the prediction file's name, `.tsv` or `.jsonl`", required=True))
    labels: tuple[str | int, ...] | None = field(
        default=None,
        metadata=yaml_key(
            (is_list_of(str, int), "a list of what the leaderboard wants"),
            "what the file has for each of `labels`, in the same order",
        ),
    )
    decimals: int = field(default=3, metadata=yaml_key(WHOLE_NUMBER, "regression: decimals of the scores (3)"))
    test_rows: int | None = field(
        default=None, metadata=yaml_key(WHOLE_NUMBER, "the number of predictions that the leaderboard expects")
    )
    layout: str = field(
        default="rows", metadata=yaml_key(one_of(LAYOUTS), "MultiRC's and ReCoRD's forms", packaged_only=True)
    )

    def __post_init__(self) -> None:
        if Path(self.file_name).name != self.file_name or Path(self.file_name).suffix not in SUFFIXES:
            raise ValueError(
                f"the submission's file_name is {self.file_name!r:.80}; pass one as task.tsv or task.jsonl"
            )
        if not self.file_name.isprintable() or len(self.file_name.encode()) > MAX_NAME_BYTES:
            raise ValueError(
                f"the submission's file_name is {self.file_name!r:.80}; pass printable characters, at most "
                f"{MAX_NAME_BYTES} bytes"
            )
        if not 0 <= self.decimals <= MAX_DECIMALS:
            raise ValueError(f"the submission's decimals are {self.decimals}; pass a number from 0 to {MAX_DECIMALS}")
        if self.layout not in LAYOUTS:
            raise ValueError(f"unknown layout {self.layout!r} of a submission; pass one of {', '.join(LAYOUTS)}")
