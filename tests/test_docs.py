"""The pages cover all methods, options, keys and metrics, and mention only files that exist."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from hf_alphavil.kinds import KINDS, find_kind
from hf_alphavil.methods import METHODS
from hf_alphavil.tasks.definition_reader import read_definitions
from hf_alphavil.tasks.key_table import key_table
from hf_alphavil.tasks.task_table import task_table

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "hf_alphavil"
DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("*.md")), ROOT / "benchmarks" / "README.md", *sorted(DOCS.glob("*.md"))]
PAGES += sorted((ROOT / "examples").rglob("*.md"))
SOURCES = [ROOT / "run_glue_avil.py", *sorted(PACKAGE.rglob("*.py")), *sorted((ROOT / "benchmarks").glob("*.py"))]
#: An output of comparisons, a script of transformers, and a file that docs/tasks.md tells its reader to write.
FILES_OF_OTHERS = {"table.md", "run_glue.py", "ordinal.py"}
PACKAGES = {path.parent.name for path in PACKAGE.glob("*/*.py")}
#: A word that starts with one of these folders and a slash is a path in this repository.
FOLDERS = {"hf_alphavil", "tests", "docs", "benchmarks", "configs", "examples"} | PACKAGES
METHODS_PAGE = (DOCS / "methods.md").read_text(encoding="utf-8")
TASKS_PAGE = (DOCS / "tasks.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", METHODS)
def test_every_method_and_option_is_documented(name):
    rows = [line for line in METHODS_PAGE.splitlines() if line.startswith(f"| `{name}` |")]
    assert rows
    for option in fields(METHODS[name].Options):
        assert any(f"`{option.name}` (" in row for row in rows), option.name


def test_the_table_of_tasks_is_the_definitions():
    assert task_table() in TASKS_PAGE


def test_the_table_of_keys_is_the_declared_fields():
    assert key_table() in TASKS_PAGE


def test_every_metric_is_documented_for_every_kind():
    multi_label = find_kind("sequence_classification", "multi_label_classification")
    for kind in [*KINDS.values(), multi_label]:
        (row,) = [line for line in TASKS_PAGE.splitlines() if line.startswith(f"| {kind.words} |")]
        assert all(f"`{metric}`" in row for metric in kind.metrics), kind.words
        assert row.index(f"`{kind.default_metrics[0]}`") == row.index("`"), kind.words


def test_the_example_of_own_tasks_is_valid(tmp_path):
    example = TASKS_PAGE.split("```yaml")[1].split("```")[0]
    (tmp_path / "tasks.yaml").write_text(example, encoding="utf-8")
    assert set(read_definitions(tmp_path / "tasks.yaml")) == {"tickets", "quiz", "names", "prose"}


def mentioned_paths(text):
    """Yields words with the suffix of a code or text file, and words that start with one of our folders."""
    for word in re.findall(r"(?<![\w/.:~<>{}-])[\w.-]+(?:/[\w.*-]+)*/?", text):
        path = word.rstrip(".")
        if path.endswith((".py", ".md")) or ("/" in path and path.split("/")[0] in FOLDERS):
            yield path


def exists(path, page):
    return path in FILES_OF_OTHERS or any(
        any(folder.glob(path.rstrip("/"))) for folder in (ROOT, PACKAGE, page.parent)
    )


def test_every_path_that_is_mentioned_exists():
    missing = [
        f"{page.relative_to(ROOT)}: {path}"
        for page in PAGES + SOURCES
        for path in mentioned_paths(page.read_text(encoding="utf-8"))
        if not exists(path, page)
    ]
    assert not missing


def anchors(page):
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_relative_link_resolves():
    for page in PAGES:
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            if "://" in link:
                continue
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            assert target.exists(), f"{page.relative_to(ROOT)}: {link}"
            assert not anchor or anchor in anchors(target), f"{page.relative_to(ROOT)}: {link}"
