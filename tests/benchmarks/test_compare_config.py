"""The YAML of a comparison: its meaning, and every possible mistake."""

import pytest
import yaml

from compare_methods import PRESETS
from hf_alphavil.comparing.command import main
from hf_alphavil.comparing.config import read_comparison
from hf_alphavil.methods import METHODS

VALID = {
    "suite": "demo",
    "tasks": ["target", "helpful", "noise"],
    "targets": ["target"],
    "seeds": [0, 1],
    "methods": ["multitask", {"method": "alphavil", "name": "alphavil-joint", "settings": {"joint_fraction": 0.5}}],
    "settings": {"num_train_epochs": 2, "learning_rate": 4.0e-4},
}


def write(folder, **changes):
    path = folder / "config.yaml"
    given = {key: value for key, value in (VALID | changes).items() if value is not None}
    path.write_text(yaml.safe_dump(given), encoding="utf-8")
    return path


def test_methods_times_targets_times_seeds(tmp_path):
    comparison = read_comparison(write(tmp_path, targets=["target", "noise"]))
    runs = comparison.runs()
    assert len({(run.name, run.target, run.seed) for run in runs}) == len(runs) == 2 * 2 * 2
    assert comparison.baseline == "multitask"
    settings = {run.name: (run.method, run.settings) for run in runs}
    common = VALID["settings"]
    assert settings == {
        "multitask": ("multitask", common),
        "alphavil-joint": ("alphavil", common | {"joint_fraction": 0.5}),
    }


def test_leave_one_out(tmp_path):
    comparison = read_comparison(write(tmp_path, targets=["target", "noise"], leave_one_out=["alphavil-joint"]))
    left_out = {(run.target, run.without) for run in comparison.runs() if run.name == "alphavil-joint"}
    assert left_out == {
        ("target", None), ("target", "helpful"), ("target", "noise"),
        ("noise", None), ("noise", "target"), ("noise", "helpful"),
    }  # fmt: skip
    assert {run.without for run in comparison.runs() if run.name == "multitask"} == {None}
    # A stopped comparison has compared the methods first.
    first = [(run.name, run.without) for run in comparison.runs()[:4]]
    assert first == [("multitask", None), ("alphavil-joint", None)] + [
        ("alphavil-joint", auxiliary) for auxiliary in ("helpful", "noise")
    ]
    assert len(comparison.runs()) == 2 * 2 * (1 + 3)


def test_all_tasks_are_targets_by_default(tmp_path):
    assert read_comparison(write(tmp_path, targets=None)).targets == VALID["tasks"]


def test_without_multitask_the_first_method_is_the_baseline(tmp_path):
    assert read_comparison(write(tmp_path, methods=["single", "alphavil"], settings={})).baseline == "single"


def test_all_methods(tmp_path):
    assert [entry.name for entry in read_comparison(write(tmp_path, methods="all")).methods] == list(METHODS)


@pytest.mark.parametrize("name", ["offline", "offline_small"])
def test_offline_presets(name, data_dir, real_encoder):
    comparison = read_comparison(PRESETS[name], data_dir=str(data_dir))
    assert comparison.data.model_name_or_path == str(real_encoder)
    assert comparison.data.data_dir == str(data_dir)
    assert set(comparison.targets) <= set(comparison.data.tasks) <= {"cb", "copa", "mrpc", "rte", "wnli"}


def test_the_preset_of_the_paper():
    comparison = read_comparison(PRESETS["paper"])
    assert comparison.targets == comparison.data.tasks == ["cb", "copa", "mrpc", "rte", "wnli"]
    assert (comparison.data.model_name_or_path, comparison.data.data_dir) == ("roberta-base", None)


def test_paths_are_relative_to_the_file(tmp_path):
    (tmp_path / "docs").mkdir()
    for name in ("mine", "other"):
        (tmp_path / "docs" / f"{name}.yaml").write_text(OWN, encoding="utf-8")
    own = {"task_config": "docs/mine.yaml", "include_path": "docs/other.yaml"}
    changes = {"tasks": ["rte", "mine", "other"], "targets": ["mine"], "data_dir": "docs", "model_name_or_path": "x"}
    config = write(tmp_path, suite="glue", **changes, **own)
    data = read_comparison(config).data
    assert data.data_dir == str(tmp_path / "docs")
    assert data.own_tasks == [str(tmp_path / "docs" / "mine.yaml"), str(tmp_path / "docs" / "other.yaml")]
    folder = read_comparison(write(tmp_path, suite="glue", **changes, task_config="docs")).data
    assert folder.own_tasks == [str(tmp_path / "docs")]
    data = read_comparison(config, data_dir=str(tmp_path), model_name_or_path="y").data
    assert (data.data_dir, data.model_name_or_path) == (str(tmp_path), "y")


OWN = "{kind: regression, text_columns: [text], files: {splits: {train: train.csv}}}"
GLUE = {"suite": "glue", "tasks": ["rte", "cb"], "targets": ["rte"], "model_name_or_path": "roberta-base"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"method": ["multitask"]},
            "unknown key 'method'; known are tasks, suite, data_dir, task_config, include_path, model_name_or_path, "
            "data_seed, max_train_samples, selection_fraction, meta_fraction, methods, targets, seeds, baseline, "
            "settings, leave_one_out. Did you mean 'methods'?",
        ),
        ({"tasks": []}, "tasks=[]: write a list with at least one entry"),
        ({"tasks": ["target"]}, "'target' alone has no auxiliaries"),
        (
            {"tasks": ["target", "helpfull"]},
            "tasks: unknown 'helpfull'; pass one of target, helpful, unrelated, noise. Did you mean 'helpful'?",
        ),
        ({"tasks": ["target", "noise", "noise"]}, "tasks: 'noise' occurs more than once"),
        ({"targets": []}, "targets=[]: write a list with at least one entry"),
        ({"targets": ["unrelated"]}, "targets: unknown 'unrelated'; pass one of target, helpful, noise"),
        ({"seeds": None}, "seeds=None: write a list with at least one entry"),
        ({"seeds": []}, "seeds=[]: write a list with at least one entry"),
        ({"seeds": [0, 0]}, "seeds: 0 occurs more than once"),
        ({"seeds": ["a"]}, "seeds: 'a' is not of type int: write one"),
        ({"methods": []}, "methods=[]: write a list of methods, or `all`"),
        ({"methods": ["multitask", "dynamics"]}, "unknown 'dynamics': pass 'probed_mixture', as it is called now"),
        (
            {"methods": ["multitask", "alphaville"]},
            f"unknown 'alphaville'; pass one of {', '.join(METHODS)}. Did you mean 'alphavil'?",
        ),
        (
            {"methods": ["multitask", "multitask"]},
            "'multitask' occurs more than once: give each entry a different `name`",
        ),
        ({"methods": [{"name": "x"}]}, "write a name, or a mapping with `method`"),
        (
            {"methods": [{"method": "single", "setting": {}}]},
            "unknown key of a method 'setting'; known are name, method, settings. Did you mean 'settings'?",
        ),
        ({"methods": [{"method": "multitask", "name": "a/b"}]}, "name 'a/b' is used in file names"),
        ({"methods": ["single"], "baseline": "multitask"}, "baseline: unknown 'multitask'; pass one of single"),
        ({"baseline": "alphavil"}, "baseline: unknown 'alphavil'"),
        (
            {"settings": {"learning_rat": 1.0}},
            "unknown training argument 'learning_rat'. Did you mean 'learning_rate'?",
        ),
        (
            {"settings": {"learning_rate": "1e-4 "}},
            "'1e-4 ' is text: write a number, without quotes",
        ),
        (
            {"settings": {"alpha_steps": -1}},
            "settings of the method 'multitask': alpha_steps=-1: pass a number of steps",
        ),
        ({"settings": {"num_train_epochs": 1.5}}, "num_train_epochs=1.5: write a whole number"),
        ({"settings": {"alpha_data": "validation"}}, "the comparison sets alpha_data, equally for all methods"),
        (
            {"methods": ["multitask", {"method": "single", "settings": {"num_train_epochs": 9}}]},
            "num_train_epochs of 'single' would give it other training examples",
        ),
        (
            {"methods": ["multitask", {"method": "alphavil", "settings": {"method_kwargs": {"x": 1}}}]},
            "settings of the method 'alphavil': method_kwargs",
        ),
        ({"leave_one_out": []}, "leave_one_out=[]: write a list with at least one entry"),
        ({"leave_one_out": True}, "leave_one_out=True: write a list with at least one entry"),
        (
            {"leave_one_out": ["alphavil"]},
            "leave_one_out: unknown 'alphavil'; pass one of multitask, alphavil-joint.",
        ),
        (
            {"methods": ["multitask", "single"], "leave_one_out": ["single"]},
            "leave_one_out: 'single' trains no auxiliaries that could be left out: remove it",
        ),
        (
            {"tasks": ["target", "helpful"], "leave_one_out": ["multitask"]},
            "leave_one_out: 'multitask' needs 2 auxiliaries or more, so that 1 is left: add tasks, or compare with",
        ),
        (
            {"methods": ["forkmerge"], "leave_one_out": ["forkmerge"]},
            "leave_one_out: 'forkmerge' needs 3 auxiliaries or more, so that 2 are left",
        ),
        ({"suite": "superglue"}, "suite: unknown 'superglue'"),
        ({"selection_fraction": 1.0}, "selection_fraction=1.0: write a share in (0, 1)"),
        ({"meta_fraction": 0}, "meta_fraction=0: write a share in (0, 1)"),
        ({"data_seed": "x"}, "data_seed='x': write a whole number"),
        ({"max_train_samples": 0}, "max_train_samples=0: write a number of rows"),
        ({"model_name_or_path": "x"}, "the suite 'demo' has its own data and encoder"),
        ({"task_config": "tasks.yaml"}, "task_config="),
        (GLUE | {"task_config": ["tasks.yaml"]}, "task_config=['tasks.yaml']: write one path"),
        (GLUE | {"include_path": "tasks.yaml"}, "tasks.yaml: no such file or folder. Pass a YAML file that defines"),
        (GLUE | {"tasks": ["rte", "tickets"]}, "or name the YAML file of your own tasks as task_config"),
        (GLUE | {"tasks": ["rte", "axb"]}, "'axb' is never trained, only evaluated with the head of rte or superglue"),
        (GLUE | {"model_name_or_path": None}, "model_name_or_path is missing: write an id"),
        (GLUE | {"model_name_or_path": "./no_encoder"}, "model_name_or_path: the folder ./no_encoder does not exist"),
        (GLUE | {"model_name_or_path": {"package": "os"}}, "write an id, a folder, or the `package` and `folder`"),
        (
            GLUE | {"model_name_or_path": {"package": "no_such_package", "folder": "model"}},
            "the package no_such_package is not installed",
        ),
        (
            GLUE | {"data_dir": "no/such/folder"},
            "no/such/folder does not exist: pass the folder of the official GLUE and SuperGLUE",
        ),
    ],
)
def test_errors_name_file_and_key(changes, message, tmp_path):
    config = write(tmp_path, **changes)
    with pytest.raises(ValueError, match=r"config\.yaml: ") as error:
        read_comparison(config)
    assert message in str(error.value)


def test_a_mistyped_name_of_an_own_task(tmp_path):
    (tmp_path / "mine.yaml").write_text(OWN, encoding="utf-8")
    config = write(tmp_path, **GLUE | {"tasks": ["rte", "minee"], "task_config": "mine.yaml"})
    with pytest.raises(ValueError, match=r"unknown 'minee'; pass one of mine, ax,.* wsc\. Did you mean 'mine'\?$"):
        read_comparison(config)


def refuse(arguments, **presets):
    with pytest.raises(SystemExit) as ended:
        main(arguments, **presets)
    assert ended.value.code == 2


def test_files_that_are_not_a_comparison(tmp_path, capsys):
    refuse(["no_such", "--output", "out"], presets=PRESETS)
    expected = "error: no_such: no such file or preset; pass a YAML file, or one of offline, offline_small, paper\n"
    assert capsys.readouterr().err == expected
    refuse(["no_such", "--output", "out"])
    assert capsys.readouterr().err == "error: no_such: no such file: pass a YAML file\n"
    path = tmp_path / "config.yaml"
    faults = (
        ("a: [", r"config\.yaml: line 1: is not YAML"),
        ("seeds: [1]\nseeds: [2]", r"config\.yaml: line 2: the key 'seeds' occurs twice"),
        ("[1]", "not a mapping"),
    )
    for text, message in faults:
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            read_comparison(path)
