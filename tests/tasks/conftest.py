"""Fixtures: small files of invented rows in the official layout, a tokenizer of a few words, and the real files."""

import os
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from support.official_miniatures import FOLDERS, make_tokenizer, miniature_lines, split_files
from support.own_files import write_rows


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real official files."""
    default = Path(__file__).resolve().parents[3] / "shared" / "data"
    folder = Path(os.environ.get("HF_ALPHAVIL_DATA_DIR", default))
    if not (folder / "glue").is_dir():
        pytest.skip(
            f"the official GLUE and SuperGLUE files are not at {folder}; HF_ALPHAVIL_DATA_DIR names their folder"
        )
    return folder


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer()


@pytest.fixture
def miniature(tmp_path):
    """Writes a task's miniature files, with `lines` in the file `file_name`. Returns the data folder."""

    def write(task: str, file_name: str | None = None, lines: list[str] | bytes | None = None) -> Path:
        folder = tmp_path / FOLDERS[task]
        folder.mkdir(parents=True, exist_ok=True)
        for split, name in split_files(task).items():
            content = lines if name == file_name and lines is not None else miniature_lines(task, split)
            if not isinstance(content, bytes):
                content = "".join(f"{line}\n" for line in content).encode()
            (folder / name).write_bytes(content)
        return tmp_path

    return write


@pytest.fixture
def define(tmp_path):
    """Writes a definition, and rows into its files by name. Returns the YAML file's path."""

    def define(text: str, name: str = "tasks.yaml", **files) -> Path:
        for file, rows in files.items():
            write_rows(tmp_path / file.replace("__", "."), rows)
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return define
