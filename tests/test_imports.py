"""Who may import whom: modules form no circle, and every import goes down the order of the packages."""

import ast
import re
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "hf_alphavil"

#: The packages, lowest first: each may import only those before it. A module at the top level counts as a package.
ORDER = (
    "version",
    "files",
    "data",
    "kinds",
    "modeling",
    "settings",
    "distributed",
    "tasks",
    "recipes",
    "methods",
    "setup",
    "objectives",
    "trainer_hooks",
    "checkpointing",
    "run",
    "reporting",
    "publishing",
    "evaluation",
    "search",
    "training_args",
    "script_arguments",
    "trainer",
    "auxiliaries",
    "ranking",
    "hf_alphavil",
    "demo",
    "comparing",
    "cli",
    "__main__",
)


def module_name(file: Path, package: Path) -> str:
    """`tasks/hub.py` is `hf_alphavil.tasks.hub`, `tasks/__init__.py` is `hf_alphavil.tasks`."""
    parts = file.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def package_of(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def imported_modules(file: Path, package: Path, modules: Iterable[str]) -> set[str]:
    """
    The package's modules that a file imports: at its top, in functions and only for type checkers.

    `from .tasks import hub` imports the module `tasks.hub`, `from .tasks import Task` the module `tasks`.
    """
    found = set()
    folder = module_name(file.parent / "__init__.py", package).split(".")
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = folder[: len(folder) + 1 - node.level] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            names = {f"{source}.{alias.name}" for alias in node.names}
            found |= {name if name in modules else source for name in names}
    return found & set(modules)


def import_graph(package: Path) -> dict[str, set[str]]:
    """Every module of a package with the modules of the package that it imports."""
    files = {module_name(file, package): file for file in sorted(package.rglob("*.py"))}
    return {name: imported_modules(file, package, files) - {name} for name, file in files.items()}


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """The nodes of one circle of a graph in the order of its imports, or nothing."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1][::-1]  # graphlib lists what is imported before what imports it
    return []


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    return import_graph(PACKAGE)


def test_modules_form_no_circle(graph):
    assert not circle(graph), " imports ".join(circle(graph))


def test_imports_go_down_the_order_of_the_packages(graph):
    unknown = {package_of(module) for module in graph} - set(ORDER)
    assert not unknown, f"give {', '.join(sorted(unknown))} a place in ORDER"
    upwards = [
        f"{module} imports {other}"
        for module, others in graph.items()
        for other in sorted(others)
        if ORDER.index(package_of(other)) > ORDER.index(package_of(module))
    ]
    assert not upwards, "\n".join([f"the order is {' < '.join(ORDER)}", *upwards])


def test_the_page_on_architecture_lists_the_packages_in_this_order():
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert re.findall(r"(?m)^\| `(\w+)/` \|", page) == [name for name in ORDER if (PACKAGE / name).is_dir()]


def test_only_what_wraps_the_trainer_imports_it(graph):
    importers = {module for module, others in graph.items() if "hf_alphavil.trainer" in others}
    wrapping = ("auxiliaries", "ranking", "demo.run", "cli.train_run")
    assert importers <= {"hf_alphavil", *(f"hf_alphavil.{module}" for module in wrapping)}


def test_every_form_of_import_counts(tmp_path):
    package = tmp_path / "house"
    (package / "low").mkdir(parents=True)
    (package / "__init__.py").write_text("import house.top\n")
    (package / "top.py").write_text("from .low import brick, THING\n")
    (package / "low" / "__init__.py").write_text("THING = 1\n")
    (package / "low" / "brick.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .stone import Stone\n"
    )
    (package / "low" / "stone.py").write_text("def cut():\n    from .. import top\n")
    assert import_graph(package) == {
        "house": {"house.top"},
        "house.top": {"house.low", "house.low.brick"},
        "house.low": set(),
        "house.low.brick": {"house.low.stone"},
        "house.low.stone": {"house.top"},
    }
    found = circle(import_graph(package))
    assert found[0] == found[-1]
    assert set(found) == {"house.top", "house.low.brick", "house.low.stone"}
    assert all(later in import_graph(package)[earlier] for earlier, later in pairwise(found))
