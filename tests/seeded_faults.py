"""
Ten one-line faults, each of which the tests of `make test` must catch: `python tests/seeded_faults.py`.

Every fault is put into a copy of the tree, in which the named tests are run; they must fail there, and pass without
it. The exit status is the number of faults that were not caught.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]


class Fault(NamedTuple):
    """A line, what a slip would make of it, and the tests that catch the slip."""

    file: str
    line: str
    slip: str
    tests: str


FAULTS = (
    # A fork trains on from where the last one ended.
    Fault(
        "hf_alphavil/run/phases.py",
        "            state.deltas.rewind()\n        elif state.method.forks:",
        "            pass\n        elif state.method.forks:",
        "tests/run/test_exactness.py -k test_equals_straight_line_reference",
    ),
    # The task weight never reaches the learning rate.
    Fault(
        "hf_alphavil/run/runner.py",
        "position, weight if on_learning_rate else 1.0)",
        "position, 1.0)",
        "tests/run/test_exactness.py -k test_equals_straight_line_reference",
    ),
    # A phase that diverged keeps the optimizer state that made it diverge.
    Fault(
        "hf_alphavil/run/phase_optimizer_states.py",
        "        elif self.keep and not roll_back:\n",
        "        elif self.keep:\n",
        "tests/run/test_divergence.py",
    ),
    # Parameters that α leaves alone are scaled by it.
    Fault(
        "hf_alphavil/methods/deltas.py",
        "None if column is None else rounded[theta.dtype][:, column]",
        "rounded[theta.dtype][:, column or 0]",
        "tests/methods/test_deltas.py",
    ),
    # A checkpoint whose bytes have changed passes for an intact one.
    Fault(
        "hf_alphavil/checkpointing/folder.py",
        "if file_checksum(path) != checksum:",
        "if False:",
        "tests/checkpointing/test_corruption.py",
    ),
    # A resumed run forgets the epochs before the checkpoint.
    Fault(
        "hf_alphavil/run/state.py",
        'self.history = list(state["history"])',
        "self.history = []",
        "tests/checkpointing/test_resume.py",
    ),
    # w ← w + α instead of w + (α − 1).
    Fault(
        "hf_alphavil/methods/weights.py",
        "alpha[task] / alpha_init - 1.0",
        "alpha[task] / alpha_init",
        "tests/methods/test_weights_and_pruning.py",
    ),
    # GCS keeps the gradients that conflict with the target's.
    Fault(
        "hf_alphavil/methods/similarity.py",
        "(cosines > 0).double()",
        "(cosines < 0).double()",
        "tests/methods/test_step_methods.py -k gcs",
    ),
    # A reader swallows the first row of a file without a header line.
    Fault(
        "hf_alphavil/tasks/readers/tsv.py",
        "first = 0 if header is not None else 1",
        "first = 1",
        "tests/tasks/test_official_files.py",
    ),
    # Rows of a short group are repeated from the second one on.
    Fault(
        "hf_alphavil/data/sampling.py",
        "(self._taken + i) % len(self._rows)",
        "(self._taken + i) % (len(self._rows) - 1)",
        "tests/data",
    ),
)


def passes(tree: Path, tests: str) -> bool:
    """Whether the tests pass in a tree; errors of the run itself end the script."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not slow", "-p", "no:cacheprovider", *tests.split()]
    status = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    if status.returncode not in (0, 1):  # no test was found, or collection failed
        raise SystemExit(f"{tests}: {status.stdout[-2000:]}{status.stderr[-2000:]}")
    return status.returncode == 0


def main() -> int:
    """Puts one fault after the other into a copy of the tree; returns how many were not caught."""
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".git", ".venv", "out", "__pycache__", ".*_cache"))
        os.environ.setdefault("HF_ALPHAVIL_DATA_DIR", str(ROOT.parent / "shared" / "data"))
        for fault in FAULTS:
            file = tree / fault.file
            content = file.read_text(encoding="utf-8")
            if content.count(fault.line) != 1:
                raise SystemExit(f"{fault.file} does not hold this once, bring the fault up to date:\n{fault.line}")
            if not passes(tree, fault.tests):
                raise SystemExit(f"{fault.tests} fails without any fault")
            file.write_text(content.replace(fault.line, fault.slip), encoding="utf-8")
            is_caught = not passes(tree, fault.tests)
            file.write_text(content, encoding="utf-8")
            missed += not is_caught
            print(f"{'caught' if is_caught else 'MISSED'}  {fault.file}: {fault.slip.strip()}", flush=True)
    return missed


if __name__ == "__main__":
    sys.exit(main())
