"""`alphavil demo`: what it passes on, and what it refuses."""

import pytest

from hf_alphavil.cli import demo
from hf_alphavil.methods import METHODS


@pytest.fixture
def passed_on(monkeypatch, tmp_path):
    """Returns what the command passes to the demo."""

    def passed_on(*words):
        calls = []
        monkeypatch.setattr(demo, "run_demo", lambda *args, **settings: calls.append((*args, settings)))
        assert demo.main(["--output_dir", str(tmp_path / "out"), "--use_cpu", *words]) == 0
        ((args, methods, settings),) = calls
        assert (args.output_dir, args.use_cpu) == (str(tmp_path / "out"), True)
        return args.seed, methods, settings

    return passed_on


def test_the_flags_reach_the_demo(passed_on):
    assert passed_on() == (42, ["single", "multitask", "alphavil"], {"num_train_epochs": 6.0})
    words = ["--methods", "pcgrad", "--seed", "3", "--num_train_epochs", "1"]
    assert passed_on(*words) == (3, ["pcgrad", "alphavil"], {"num_train_epochs": 1.0})
    assert passed_on("--methods", "all")[1] == list(METHODS)


def test_an_output_folder_that_is_a_file_is_one_line(tmp_path, capsys):
    (tmp_path / "out").touch()
    with pytest.raises(SystemExit) as end:
        demo.main(["--output_dir", str(tmp_path / "out")])
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")
