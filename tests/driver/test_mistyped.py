"""Command lines as a newcomer mistypes them, and files that are not what they should be: each ends in one line."""

import json
import os
import re
import shutil

import pytest
from safetensors.torch import load_file, save_file

from hf_alphavil.demo.suite import demo_encoder
from support.rights import ordinary_rights

HEADER = "text,label\n"
ROWS = "".join(f"w{n} x,{'good' if n % 2 else 'bad'}\n" for n in range(40))
TASK = """
mood:
  kind: sequence_classification
  text_columns: [text]
  files: {splits: {train: mood.csv, validation: dev.csv}}
"""


@pytest.fixture(scope="session")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "enc"
    demo_encoder(folder)
    return folder


@pytest.fixture
def folder(monkeypatch, tmp_path, encoder):
    """The working folder, in which `command()` trains."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mood.csv").write_text(HEADER + ROWS)
    (tmp_path / "dev.csv").write_text(HEADER + "a,good\nb,bad\n")
    (tmp_path / "tasks.yaml").write_text(TASK)
    shutil.copytree(encoder, tmp_path / "enc")
    return tmp_path


def command(**flags):
    """A command line that trains; `None` leaves a flag out."""
    defaults = {"target": "mood", "auxiliary": "none", "task_config": "tasks.yaml", "model_name_or_path": "enc"}
    defaults |= {"output_dir": "out", "num_train_epochs": 1, "disable_tqdm": "true"}
    given = [(f"--{name}", value) for name, value in (defaults | flags).items() if value is not None]
    return ["--use_cpu", *(word for pair in given for word in pair)]


# ---- Flags


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-target", "rte"], "unknown flag -target: did you mean --target?"),
        (["—target", "rte"], "unexpected '—target': write a flag's name before its value"),
        (["--target", "rte", "cb"], "unexpected 'cb': write a flag's name before its value"),
        ([*command(), "run.yaml"], "unexpected 'run.yaml': .* comes first, and there is only one"),
        (["run.toml"], r"unexpected 'run.toml': .* a file of flags \(.yaml, .yml, .json\) comes first"),
        ([*command(), "--auxilary", "cb"], "unknown flag --auxilary: did you mean --auxiliary?"),
        (command(learning_rate="5e-5x"), "argument --learning_rate.*: invalid float value: '5e-5x'"),
        (command(learning_rate="0,1"), "argument --learning_rate.*: invalid float value: '0,1'"),
        (command(per_device_train_batch_size="8.0"), "per_device_train_batch_size.*: invalid int value: '8.0'"),
        ([*command(), "--learning_rate", "--do_train"], "argument --learning_rate.*: expected one argument"),
        (command(auxiliary="mrpc,cb"), "unknown task 'mrpc,cb'; .* Write several names with spaces between them"),
        (command(auxiliary="mrpc cb"), "unknown task 'mrpc cb'; .* Write several names with spaces between them"),
        (["--target", "sst2", "--auxiliary", "none", "cb"], "--auxiliary none cb: pass `none` alone, or leave it out"),
        (["--target", "sst2", "--auxiliary", "none", "all"], "--auxiliary none all: pass `none` alone"),
        (["--target", "sst2", "--auxiliary", "all"], "`all` takes the tasks in --data_dir and those of"),
        ([*command(), "--auxiliary", "cb"], "--auxiliary occurs twice: write all its values behind one --auxiliary"),
        (command(target="Mood"), "unknown task 'Mood'; .* Did you mean 'mood'"),
        (command(target="axb"), "axb is never trained, only evaluated with the head of rte or superglue_rte"),
        (command(auxiliary="ax"), "ax is never trained, only evaluated with the head of mnli: .* --diagnostics ax"),
        (command(auxiliary=None), "which tasks should help mood, a task of your own. Pass --auxiliary NAME ..., "),
        (command(auxiliary="mood"), "the only auxiliary that is named is the target, mood: name other tasks, or pass"),
        ([*command(resume_from_checkpoint="auto"), "--overwrite_output_dir"], "contradicts --resume_from_checkpoint"),
        (command(diagnostics="cb"), "--diagnostics cb: this task has a head of its own. Pass it as --auxiliary"),
        (command(diagnostics="mood"), "--diagnostics mood: this task has a head of its own"),
        (command(target_task="rte"), "--target_task rte contradicts --target mood: leave it out"),
        (command(method="AlphaVIL"), "unknown method 'AlphaVIL': .* Did you mean 'alphavil'"),
        (command(method="all"), "--method all is only for --demo"),
        (command(method="multitask", method_kwargs='{"temperature": 2}'), "'multitask' has no option 'temperature'"),
        (command(method_kwargs='{"a":' + "[" * 100_000), "method_kwargs=.* is not JSON"),
        (command(lr_scheduler_kwargs="{'a': 1}"), "lr_scheduler_kwargs=.*: pass JSON of options by name"),
        (command(lr_scheduler_kwargs='{"a":' + "[" * 100_000), "lr_scheduler_kwargs=.*: pass JSON of options"),
        (command(lr_scheduler_type="Cosine"), "invalid choice: 'Cosine' .did you mean cosine?"),
        (command(make_submission="GLUE"), "invalid choice: 'GLUE' .did you mean glue?"),
        (command(lora_r=4), "--lora_r without --use_peft would train no adapters"),
        (command(dtype="bfloat16"), "dtype=bfloat16 without use_peft=True would train .*: add --use_peft"),
        ([*command(lora_r=0), "--use_peft"], "lora_r=0: pass 1 or more"),
        ([*command(), "--demo"], "--demo has its own tasks and encoder: leave --target, .*--auxiliary"),
        ([*command(), "--do_predict"], "--do_predict: the target mood has no test set to predict. Add one"),
        ([*command(resume_from_checkpoint="nowhere"), "--do_eval"], "--resume_from_checkpoint continues a training"),
        (command(resume_from_checkpoint="auto", do_train="false"), "--resume_from_checkpoint continues a training"),
        (command(do_train="false", do_eval="false"), "--do_train false --do_eval false leave nothing to do"),
        (command(resume_from_checkpoint=""), "--resume_from_checkpoint is empty"),
        (command(resume_from_checkpoint="enc"), "enc is a corrupt checkpoint: enc/manifest.json is missing"),
        (command(resume_from_checkpoint="mood.csv"), "there is no checkpoint mood.csv"),
        (command(model_revision="v2"), "--model_revision is for the Hub, and enc is a folder: leave it out"),
        (command(output_dir=""), "--output_dir is empty: pass a path, or leave the flag out"),
        (command(task_config=""), "--task_config is empty: pass a value, or leave the flag out"),
        (command(data_dir=""), "--data_dir is empty: pass a value, or leave the flag out"),
        (command(target="rte", data_dir="mood.csv"), "mood.csv: is a file, not a folder."),
        (command(metric_for_best_model="acuracy"), "gives no 'acuracy': pass one of .*. Did you mean 'accuracy'"),
        (command(max_train_samples=0), "max_train_samples=0: pass 1 or more"),
        (command(early_stopping_patience=0), "--early_stopping_patience 0: pass 1 or more"),
        (command(early_stopping_threshold="nan"), "--early_stopping_threshold nan: pass a number, 0 or more"),
        (command(early_stopping_threshold=0.1), "--early_stopping_threshold without --early_stopping_patience"),
        (command(early_stopping_patience=1), "add --load_best_model_at_end --eval_strategy epoch --save_strategy"),
        (
            command(early_stopping_patience=1, save_strategy="best", load_best_model_at_end="true"),
            "add --load_best_model_at_end --eval_strategy epoch",
        ),
    ],
)  # fmt: skip
def test_a_mistyped_flag(folder, refusal, words, message):
    assert re.search(message, refusal(*words))
    assert not (folder / "out").exists() or not list((folder / "out").iterdir())


@pytest.mark.parametrize("name", ["paper", "all", "none"])
def test_a_name_that_means_something_else(folder, refusal, name):
    (folder / "tasks.yaml").write_text(TASK.replace("mood:", f"{name}:"))
    assert f"tasks.yaml, line 2: the task name '{name}' has a meaning for --auxiliary" in refusal(
        *command(target=name)
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.json", '{"method_kwargs": ' + "[" * 100_000, "x.json: nests too deeply"),
        ("x.json", '{"auxiliary": [["cb"]]}', "x.json: auxiliary is a list of [['cb']]: write a list of words"),
        ("x.json", '{"auxiliary": [null]}', "x.json: auxiliary is a list of [None]: write a list of words"),
        ("x.yaml", "auxiliary: [[cb]]", "x.yaml: auxiliary is a list of [['cb']]: write a list of words"),
        ("x.YAML", "seeed: 1", "x.YAML: unknown flag --seeed: did you mean --seed?"),
        ("x.JSON", '{"seeed": 1}', "x.JSON: unknown flag --seeed: did you mean --seed?"),
    ],
)
def test_a_mistyped_file_of_flags(folder, refusal, name, content, message):
    (folder / name).write_text(content)
    assert refusal(name) == message


# ---- Folders


@pytest.mark.parametrize(
    ("left", "message"),
    [
        (
            "train_results.json",
            "output_dir='out' holds a finished run (train_results.json): pass another --output_dir",
        ),
        ("checkpoint-12/x", "output_dir='out' holds a run that was stopped (checkpoint-12): pass --resume_from_check"),
    ],
)
def test_a_folder_that_holds_a_run(folder, refusal, left, message):
    (folder / "out" / left).parent.mkdir(parents=True)
    (folder / "out" / left).touch()
    told = refusal(*command())
    assert told.startswith(message)
    assert told.endswith("pass another --output_dir, or --overwrite_output_dir to train anew there")
    assert (folder / "out" / left).exists()


def test_a_launcher_s_restart_keeps_the_checkpoints_of_the_attempt_before(folder, refusal, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    (folder / "out" / "checkpoint-12").mkdir(parents=True)
    told = refusal(*command(), "--overwrite_output_dir")
    assert told.startswith("the launcher has restarted this run (restart 1), and --overwrite_output_dir would remove")
    assert "(checkpoint-12): start it again with --resume_from_checkpoint auto" in told
    assert (folder / "out" / "checkpoint-12").exists()


def in_the_way(folder):
    (folder / "out").write_text("")


def link_to_nothing(folder):
    (folder / "out").symlink_to(folder / "nowhere")


def read_only(folder):
    (folder / "out").mkdir()
    (folder / "out").chmod(0o555)


def read_only_parent(folder):
    folder.chmod(0o555)


@pytest.mark.parametrize(
    ("make", "output_dir", "reason"),
    [
        (in_the_way, "out", "Not a directory"),
        (in_the_way, "out/below", "Not a directory"),
        (link_to_nothing, "out", "No such file or directory"),
        (read_only, "out", "Permission denied"),
        (read_only_parent, "out/below", "Permission denied"),
        (lambda folder: None, "x" * 300, "File name too long"),
        (lambda folder: None, "/proc/out", "No such file or directory"),
    ],
)
def test_an_output_folder_that_cannot_be_written(folder, refusal, make, output_dir, reason):
    make(folder)
    with ordinary_rights():
        told = refusal(*command(output_dir=output_dir))
    assert told == f"output_dir={output_dir!r:.300} cannot be written ({reason}): pass another"
    folder.chmod(0o755)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mood.csv", "mood.csv: cannot be read: Permission denied."),
        ("tasks.yaml", "tasks.yaml: cannot be read: Permission denied."),
        ("enc/config.json", "enc/config.json: Permission denied"),
        ("enc/model.safetensors", "enc/model.safetensors: Permission denied"),
        ("enc/tokenizer.json", "enc/tokenizer.json: Permission denied"),
    ],
)
def test_a_file_that_must_not_be_read(folder, refusal, name, message):
    (folder / name).chmod(0)
    with ordinary_rights():
        assert refusal(*command()).endswith(message)


def test_folders_of_yaml_files_that_cannot_be_searched(folder, refusal, monkeypatch):
    (folder / "own" / "below").mkdir(parents=True)
    shutil.move(folder / "tasks.yaml", folder / "own" / "tasks.yaml")
    (folder / "own" / "below").chmod(0)
    flags = {"task_config": None, "include_path": "own"}
    with ordinary_rights():
        assert refusal(*command(**flags)) == "own/below: cannot be read: Permission denied."
    (folder / "own" / "below").chmod(0o755)
    monkeypatch.setattr("hf_alphavil.tasks.registry.MAX_FILES", 5)
    for number in range(6):
        (folder / "own" / "below" / f"{number}.txt").touch()
    assert refusal(*command(**flags)).startswith("own: there are more than 5 files below this folder.")


# ---- Encoders


def damaged(name, content=None):
    """Replaces a file of the encoder, or removes it."""

    def change(folder):
        (folder / "enc" / name).unlink()
        if content is not None:
            (folder / "enc" / name).write_bytes(content)

    return change


def cut(folder):
    file = folder / "enc" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:20_000])


def without_words(folder):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / "enc" / name).unlink()


def with_nan(folder):
    file = folder / "enc" / "model.safetensors"
    tensors = load_file(file)
    tensors["embeddings.LayerNorm.bias"][3] = float("nan")
    save_file(tensors, file, metadata={"format": "pt"})


def with_settings(**settings):
    def change(folder):
        file = folder / "enc" / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | settings))

    return change


def pickled(folder):
    """Weights that would run a command."""
    (folder / "enc" / "model.safetensors").unlink()
    (folder / "enc" / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")


def pipe(folder):
    (folder / "enc" / "config.json").unlink()
    os.mkfifo(folder / "enc" / "config.json")


def endless(folder):
    (folder / "enc" / "model.safetensors").unlink()
    (folder / "enc" / "model.safetensors").symlink_to("/dev/zero")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_words, "enc has no tokenizer: add its files, such as tokenizer.json, to the encoder"),
        (damaged("config.json"), "the encoder's folder enc has no config.json"),
        (damaged("config.json", b"{"), "enc: its configuration cannot be loaded: "),
        (damaged("config.json", b"[]"), "enc: its configuration cannot be loaded: "),
        (damaged("config.json", b"\xff\xfe\x00"), "enc: its configuration cannot be loaded: "),
        (damaged("model.safetensors"), "no file named model.safetensors.* enc"),
        (damaged("model.safetensors", b""), "the weights in enc cannot be read: "),
        (damaged("model.safetensors", b"\xff" * 999), "the weights in enc cannot be read: "),
        (cut, "the weights in enc cannot be read: "),
        (pickled, "the weights in enc cannot be read: "),
        (with_nan, "1 weights in enc are NaN or infinite, the first is embeddings.LayerNorm.bias"),
        (with_settings(hidden_size=32), r"weights in enc have other shapes than its config.json says: .* is \(64,\)"),
        (with_settings(hidden_size=-1), "the weights in enc cannot be read: .*negative dimension"),
        (with_settings(hidden_size=10**6), "the weights in enc cannot be read: |other shapes"),
        (with_settings(num_attention_heads=7), "not a multiple of the number of attention heads"),
        (with_settings(model_type="vit"), "the architecture 'vit' has no native class for sequence classification"),
        (with_settings(model_type="zzz"), "enc: its configuration cannot be loaded: .*`zzz`"),
        (pipe, "the encoder's folder enc has no config.json"),
        (endless, "no file named model.safetensors.* enc"),
    ],
)
def test_a_damaged_encoder(folder, refusal, change, message):
    change(folder)
    assert re.search(message, refusal(*command()))
    assert not (folder / "ran").exists()


def test_test_rows_are_read_only_where_a_run_needs_them(folder, refusal):
    (folder / "tasks.yaml").write_text(TASK.replace("dev.csv}", "dev.csv, test: test.csv}"))
    (folder / "test.csv").write_text("words,label\nx,good\n")
    for flags in ({"do_predict": "true"}, {"alpha_data": "test", "alpha_objective": "entropy"}):
        assert re.search("test.csv.*no column 'text'", refusal(*command(**flags)))
    with_nan(folder)
    assert "enc are NaN or infinite" in refusal(*command())


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("mood.csv", "the encoder mood.csv is a file: pass its folder"),
        ("", "--model_name_or_path is empty: pass a value, or leave the flag out"),
        (
            "bert-base-uncased",
            "uncased: its configuration cannot be loaded: it is not in the cache .*HF_HUB_OFFLINE is set",
        ),
        ("https://huggingface.co/bert-base-uncased", "the encoder's folder https:.* does not exist"),
    ],
)
def test_a_path_that_is_no_encoder(folder, refusal, path, message):
    assert re.search(message, refusal(*command(model_name_or_path=path)))
