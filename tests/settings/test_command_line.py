"""Files of flags that replace a command line."""

import pytest

from hf_alphavil.modeling.lora import LoraArguments
from hf_alphavil.settings.command_line import read_flags_file
from hf_alphavil.training_args import MultitaskTrainingArguments

CLASSES = (LoraArguments, MultitaskTrainingArguments)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "run.json",
            '{"learning_rate": 5e-05, "alpha_l2": "1e-5", "max_seq_length": 16, "run_name": "\\ud83d\\ude00"}',
        ),
        (
            "run.json",
            '{\n\t"learning_rate": 5e-5,\n\t"alpha_l2": 1e-5,\n\t"max_length": 16, "run_name": "\U0001f600"}',
        ),
        ("run.yaml", "learning_rate: 5e-5\nalpha_l2: 1e-5\nmax_seq_length: 16\nrun_name: \U0001f600\n"),
    ],
)
def test_files_of_flags(tmp_path, name, content):
    (tmp_path / name).write_text(content, encoding="utf-8")
    flags = {"learning_rate": 5e-5, "alpha_l2": 1e-5, "max_length": 16, "run_name": "\U0001f600"}
    assert read_flags_file(tmp_path / name, CLASSES) == flags
    (tmp_path / name).write_text(content, encoding="utf-8-sig")  # with a byte order mark
    assert read_flags_file(tmp_path / name, CLASSES) == flags


def test_a_file_that_is_not_a_mapping(tmp_path):
    (tmp_path / "run.yaml").write_text("- target\n")
    with pytest.raises(ValueError, match=r"run.yaml is not a mapping from flags to values"):
        read_flags_file(tmp_path / "run.yaml", CLASSES)
