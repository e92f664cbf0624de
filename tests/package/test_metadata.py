"""The package's metadata agree with each other: ranges of versions, pinned versions, and the package's own version."""

import re
from importlib import import_module

import pytest
import tomllib
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

import hf_alphavil
from support.forking import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
#: torch's lower bound is tried on GPU machines: for CPUs, its wheel may be gone from the index.
NOT_THE_LOWEST = {"torch"}


def pinned(file):
    """The versions of a file of constraints."""
    text = (ROOT / file).read_text(encoding="utf-8")
    return {name.lower().replace("_", "-"): version for name, version in re.findall(r"(?m)^([\w.-]+)==(\S+)", text)}


def requirements(*extras):
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in EXTRAS[extra])]
    found = [Requirement(line) for line in lines]
    return {entry.name.lower(): entry for entry in found if entry.name != PROJECT["name"]}


def test_the_tested_versions_are_in_the_ranges():
    tested = pinned("constraints.txt")
    for name, requirement in requirements(*EXTRAS).items():
        assert tested[name] in requirement.specifier, name


def test_the_oldest_versions_are_the_lower_bounds():
    oldest = pinned("constraints-oldest.txt")
    for name, requirement in requirements("peft", "report").items():
        for bound in [Version(entry.version) for entry in requirement.specifier if entry.operator == ">="]:
            assert oldest[name] in requirement.specifier
            lowest = Version(oldest[name]).release[: len(bound.release)]
            assert lowest == bound.release or name in NOT_THE_LOWEST, name


def test_the_tests_with_the_oldest_versions_exist():
    lines = re.findall(r"(?m)^OLDEST_TESTS \+?= (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"))
    prefixed = re.compile(r"\$\(addprefix (\S+),([^)]+)\)")
    paths = prefixed.sub(lambda found: " ".join(found[1] + name for name in found[2].split()), " ".join(lines)).split()
    assert paths
    assert [path for path in paths if not (ROOT / path).is_file()] == []


def test_the_citation_and_the_changelog_name_the_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == hf_alphavil.__version__
    assert citation["license"] == PROJECT["license"]
    assert f"{hf_alphavil.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("script", PROJECT["scripts"])
def test_every_script_is_a_function(script):
    module, _, name = PROJECT["scripts"][script].partition(":")
    assert callable(getattr(import_module(module), name))
