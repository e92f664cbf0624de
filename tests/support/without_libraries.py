"""Runs without libraries that hf_alphavil does not always need, in a process of their own (`support.forking`)."""

import contextlib
import importlib
import sys
from importlib.abc import MetaPathFinder

#: The library `datasets`, and what comes with it and with `evaluate`.
OF_DATASETS = ("datasets", "evaluate", "pandas", "pyarrow", "xxhash")
OF_SCORES = ("sklearn", "scipy")
TESTED = ("hf_alphavil", "support", "reference")


class Refusal(MetaPathFinder):
    """Finds none of some libraries, and keeps others from finding them."""

    def __init__(self, libraries):
        self.libraries = libraries

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.libraries:
            raise ModuleNotFoundError(f"No module named {name!r}")


@contextlib.contextmanager
def absent(libraries):
    """A context in which imports of some libraries fail as if they were not installed."""
    hidden = {name: module for name, module in sys.modules.items() if name.split(".")[0] in libraries}
    for name in hidden:
        del sys.modules[name]
    refusal = Refusal(libraries)
    sys.meta_path.insert(0, refusal)
    yield
    sys.meta_path.remove(refusal)
    sys.modules.update(hidden)


def run_without(folder, methods):
    """Imports hf_alphavil anew and trains: the toy without any of the libraries, own tasks with those of scores."""
    for name in [name for name in sys.modules if name.split(".")[0] in TESTED]:
        del sys.modules[name]
    with absent(OF_DATASETS):
        with absent(OF_SCORES):
            toys = importlib.import_module("support.toy_run")
            toy = toys.run_toy(f"{folder}/toy")
        ready = importlib.import_module("support.ready_rows_run")
        runs = {method: ready.run_ready_rows(f"{folder}/{method}", method=method) for method in methods}
        try:
            importlib.import_module("hf_alphavil").load_tasks("rte")
        except ImportError as error:
            return toy, runs, str(error)
    return toy, runs, "no error"
