"""The built sdist and wheel: what they contain, and that they work outside the repository."""

import email
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile

import pytest

import hf_alphavil
from support.forking import ROOT

pytestmark = pytest.mark.slow

NOT_SOURCE = (".*", "*_output", "out", "build", "dist", "*.egg-info", "__pycache__", "*.pyc")

#: Lists the tasks and runs the demo as `alphavil` does, in one process, and prints where the package comes from.
USE = """
import hf_alphavil
from hf_alphavil.cli.main import main
assert main(["tasks", "list"]) == 0
assert main(["demo", "--methods", "alphavil", "--num_train_epochs", "1", "--use_cpu"]) == 0
print(hf_alphavil.__file__)
"""


def run(*command, cwd):
    """Runs a program that does not see this repository, and returns its output."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    finished = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stdout[-3000:] + finished.stderr[-3000:]
    return finished.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """The sdist, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("distributions")
    shutil.copytree(ROOT, folder / "source", ignore=shutil.ignore_patterns(*NOT_SOURCE))
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, cwd=folder / "source")
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


def files_of_the_package():
    found = (path for path in (ROOT / "hf_alphavil").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(ROOT).as_posix() for path in found}


def test_the_wheel_is_the_package_and_works_elsewhere(distributions, tmp_path):
    with zipfile.ZipFile(distributions[1]) as wheel:
        names = wheel.namelist()
        info = f"hf_alphavil-{hf_alphavil.__version__}.dist-info"
        assert {name for name in names if not name.startswith(f"{info}/")} == files_of_the_package()
        assert wheel.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
        metadata = email.message_from_bytes(wheel.read(f"{info}/METADATA"))
    assert metadata["Version"] == hf_alphavil.__version__
    assert metadata["License-Expression"] == "Apache-2.0"

    # An environment that has the libraries, but of this package only the wheel.
    venv.create(tmp_path / "venv", symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--no-deps",
        "--no-index",
        distributions[1],
        cwd="/",
    )
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip()
    with open(f"{site}/libraries.pth", "w") as libraries:
        libraries.write(sysconfig.get_path("purelib"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    version = run(python.with_name("alphavil"), "--version", cwd=elsewhere)
    assert version == f"alphavil {hf_alphavil.__version__}\n"
    output = run(python, "-c", USE, cwd=elsewhere).splitlines()
    assert any(line.split()[:2] == ["rte", "sequence_classification"] for line in output)
    assert any(line.startswith("alphavil: target test accuracy ") for line in output)
    assert (elsewhere / "demo_output" / "plots" / "task_weights.png").exists()
    assert output[-1] == f"{site}/hf_alphavil/__init__.py"


def test_the_sdist_can_be_tested(distributions, tmp_path):
    with tarfile.open(distributions[0]) as sdist:
        sdist.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    assert files_of_the_package() <= {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    for name in ("LICENSE", "CHANGELOG.md", "CITATION.cff", "constraints-oldest.txt", "benchmarks/presets/paper.yaml"):
        assert (folder / name).is_file()
    output = run(sys.executable, "-m", "pytest", "-q", "tests/tasks/test_task.py", cwd=folder)
    assert " passed" in output
    assert "failed" not in output
