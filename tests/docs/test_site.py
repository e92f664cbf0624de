"""The site has every page, its reference every public name, and the badges say what the metadata says."""

import re
from urllib.parse import unquote

import pytest
import tomllib
import yaml

import hf_alphavil
import hf_alphavil.modeling
import hf_alphavil.tasks
from support.pages import ROOT, blocks_of

DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_page_is_in_the_navigation_and_in_the_readme():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:\n")[1]
    pages = {page.name for page in DOCS.glob("*.md")}
    assert set(re.findall(r"- ([\w-]+\.md)", navigation)) == pages | {"benchmarks.md"}
    assert all(f"(docs/{page}" in README for page in pages)


@pytest.mark.parametrize("module", [hf_alphavil, hf_alphavil.tasks, hf_alphavil.modeling], ids=lambda m: m.__name__)
def test_the_reference_has_every_public_name(module):
    names = re.findall(r"(?m)^::: hf_alphavil(?:\.\w+)*\.(\w+)$", (DOCS / "api.md").read_text(encoding="utf-8"))
    assert set(module.__all__) <= set(names)
    assert len(names) == len(set(names))


def test_the_badges_are_the_metadata():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    badges = dict(re.findall(r"badge/(\w+)-(\S+)-blue", README))
    shown = {
        name: unquote(value).replace("--", "-").replace("≥ ", ">=").replace("< ", "<")
        for name, value in badges.items()
    }
    (transformers,) = [line for line in project["dependencies"] if line.startswith("transformers")]
    assert shown["license"] == project["license"]
    assert shown["python"] == project["requires-python"]
    assert shown["transformers"].replace(" ", "") == transformers.removeprefix("transformers")


def test_the_readme_is_short_and_sets_a_fresh_machine_up_first():
    assert len(README.splitlines()) <= 120
    first = blocks_of(ROOT / "README.md", "bash")[0]
    assert [words[:2] for words in first.commands] == [["make", "demo"], ["make", "test"]]


def test_the_site_asks_no_other_server():
    """`make docs` builds it strictly; no font and no plugin may be loaded from elsewhere."""
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert "\nstrict: true\n" in text
    settings = yaml.safe_load(re.sub(r"!!python/\S+", "", text))
    assert settings["theme"]["font"] is False
    assert {name if isinstance(name, str) else next(iter(name)) for name in settings["plugins"]} == {
        "search",
        "mkdocstrings",
    }
    assert not {"extra_javascript", "extra_css"} & settings.keys()


def test_the_tests_that_habits_name_exist():
    named = re.findall(r"`(tests/[\w/.]+)`", (DOCS / "habits.md").read_text(encoding="utf-8"))
    assert len(named) > 15
    assert [path for path in named if not (ROOT / path).exists()] == []
