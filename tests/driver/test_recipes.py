"""`--recipe`: which one is found, what it sets beside flags, what is printed and refused, and how a run resumes."""

import json
import re
import sys
from dataclasses import fields

import pytest
import yaml
from transformers import BertConfig

import run_glue_avil
from hf_alphavil.cli import train
from hf_alphavil.demo.suite import demo_encoder
from hf_alphavil.modeling import MultitaskConfig
from hf_alphavil.recipes import read_recipes
from hf_alphavil.recipes.recipe import RECIPES_DIR, SETTINGS
from hf_alphavil.script_arguments import DriverTrainingArguments
from hf_alphavil.tasks import available_tasks
from support.forking import ROOT

ROBERTA = {"model_type": "roberta", "hidden_size": 768, "num_hidden_layers": 12}
TINY = {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 2}
MINE = """
other:
  encoder: {model_type: bert, hidden_size: 32, num_hidden_layers: 2}
  learning_rate: 1
tiny:
  encoder: {model_type: bert, hidden_size: 16, num_hidden_layers: 2}
  learning_rate: 3e-3
  num_train_epochs: 2
"""
DEFAULTS = {entry.name: entry.default for entry in fields(DriverTrainingArguments)}
FILES = sorted(RECIPES_DIR.glob("*.yaml"))


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """The working folder, with encoders that are only a configuration."""
    monkeypatch.chdir(tmp_path)
    for name, config in (("roberta", ROBERTA), ("tiny", TINY)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config))
    (tmp_path / "mine.yaml").write_text(MINE)
    return tmp_path


@pytest.fixture
def settle(folder, monkeypatch, capsys):
    """Runs the script until data would be loaded; returns the training arguments and what training would say."""

    def settle(*words):
        taken = []
        monkeypatch.setattr(train, "run", lambda driver, args, lora, said: taken.append((args, said)) or 0)
        monkeypatch.setattr(sys, "argv", ["run_glue_avil.py", *words, "--use_cpu", "--output_dir", "out"])
        assert run_glue_avil.main() == 0
        assert capsys.readouterr().out == ""  # nothing is said before training starts
        return taken[0][0], "\n".join(taken[0][1])

    return settle


def settings(args):
    return {name: getattr(args, name) for name in SETTINGS}


def defaults():
    return {name: DEFAULTS[name] for name in SETTINGS}


def written(target, name):
    """What a recipe of the package says, read by PyYAML alone."""
    content = yaml.safe_load((RECIPES_DIR / f"{target}.yaml").read_text(encoding="utf-8"))[name]
    return {key: float(value) for key, value in content.items() if key != "encoder"}


def test_the_recipe_of_target_and_encoder_is_used(settle):
    args, said = settle("--target", "RTE", "--model_name_or_path", "roberta")
    recipe = written("rte", "roberta-base")
    assert settings(args) == defaults() | recipe
    assert args.changed().items() >= {k: v for k, v in recipe.items() if v != DEFAULTS[k]}.items()
    assert args.script_settings["recipe"] == "rte/roberta-base"
    (line,) = said.splitlines()
    pairs = ", ".join(f"{name}={getattr(args, name)}" for name in SETTINGS if name in recipe)
    assert line == f"recipe rte/roberta-base for RTE with roberta sets {pairs}"


def test_flags_win(settle, folder):
    """Even those that say the default; in a file too."""
    (folder / "run.json").write_text('{"num_train_epochs": 3, "weight_decay": 0.5}')
    args, said = settle("run.json", "--target", "rte", "--model_name_or_path", "roberta", "--max-grad-norm=1.0")
    given = {"num_train_epochs": 3, "weight_decay": 0.5, "max_grad_norm": 1.0}
    assert settings(args) == defaults() | written("rte", "roberta-base") | given
    assert said.endswith("; your flags set num_train_epochs=3.0, weight_decay=0.5, max_grad_norm=1.0")
    assert all(said.count(f"{name}=") == 1 for name in given)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--target", "rte", "--model_name_or_path", "tiny"], "rte with tiny"),
        (["--target", "sst2", "--model_name_or_path", "roberta"], "sst2 with roberta"),
        (["--target", "mood", "--model_name_or_path", "nowhere"], "mood with nowhere"),
        (["--target", "rte", "--model_name_or_path", "roberta", "--use_peft"], "rte with roberta and adapters"),
    ],
)
def test_without_a_recipe_the_defaults_are_printed(settle, words, wanted):
    args, said = settle(*words, "--adam_beta2", "0.5")
    assert settings(args) == defaults() | {"adam_beta2": 0.5}
    assert "recipe" not in args.script_settings
    pairs = ", ".join(f"{name}={value}" for name, value in settings(args).items() if name != "adam_beta2")
    assert said == f"no recipe for {wanted}: the defaults are {pairs}"


@pytest.mark.parametrize("words", [["--recipe", "none"], ["--do_eval"]])
def test_no_recipe_is_looked_for(settle, words):
    args, said = settle("--target", "rte", "--model_name_or_path", "roberta", *words)
    assert (settings(args), said) == (defaults(), "")


def test_a_multitask_model_is_known_by_its_encoder(settle, folder):
    MultitaskConfig(encoder=BertConfig(hidden_size=384, num_hidden_layers=6)).save_pretrained(folder / "saved")
    args, _ = settle("--target", "cb", "--model_name_or_path", "saved")
    assert args.script_settings["recipe"] == "cb/minilm-l6"


@pytest.mark.parametrize("words", [[], ["--use_peft"]])
def test_a_file_of_one_s_own(settle, words):
    args, said = settle("--target", "mood", "--model_name_or_path", "tiny", "--recipe", "mine.yaml", *words)
    assert settings(args) == defaults() | {"learning_rate": 3e-3, "num_train_epochs": 2}
    assert said == "recipe mine.yaml:tiny for mood with tiny sets learning_rate=0.003, num_train_epochs=2.0"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("learning_rate: 3e-3", "learnin_rate: 1"), "line 7: the recipe 'tiny' has the unknown key 'learnin_rate'; "
         "known are encoder, learning_rate, .* Did you mean 'learning_rate'?"),
        (("learning_rate: 3e-3", "learning_rate: fast"), "line 7: learning_rate='fast': write a number"),
        (("learning_rate: 3e-3", "learning_rate:"), "line 7: learning_rate=None: write a number"),
        (("learning_rate: 3e-3", "learning_rate: 012"), "line 7: '012' is read as the number 10"),
        (("learning_rate: 3e-3", "learning_rate: -1"), "line 7: learning_rate=-1.0: pass a finite number of"),
        (("learning_rate: 3e-3", "warmup_steps: .nan"), "line 7: warmup_steps=nan: pass 0 or more steps"),
        (("num_train_epochs: 2", "per_device_train_batch_size: 1.5"), "line 8: .*=1.5: write a whole number"),
        (("num_train_epochs: 2", "per_device_train_batch_size: 0"), "line 8: .*=0: pass a whole number of 1 or more"),
        (("num_train_epochs: 2", "learning_rate: 2"), "line 8: the key 'learning_rate' occurs twice"),
        (("hidden_size: 16, ", ""), "line 6: the encoder of the recipe 'tiny' has hidden_size=None: write a whole"),
        (("hidden_size: 16", "hidden_size: 2.5"), "line 6: the encoder .* has hidden_size=2.5: write a whole number"),
        (("hidden_size: 16", "hidden: 16"), "line 6: the encoder .* has the unknown key 'hidden'; .* 'hidden_size'?"),
        (("hidden_size: 16", "hidden_size: 32"), "line 5: 'tiny' is for the encoder of 'other'"),
        (("hidden_size: 16", "hidden_size: 8"), r"has no recipe for tiny \(model_type=bert, hidden_size=16, .*: add"),
        (("  encoder: {model_type: bert, hidden_size: 16, num_hidden_layers: 2}\n", ""),
         "line 5: the recipe 'tiny' has encoder=None: write model_type, hidden_size, num_hidden_layers"),
        ((MINE, "tiny: 3"), "line 1: the recipe 'tiny' is 3: write a mapping"),
        ((MINE, "- tiny"), "line 1: is not a mapping"),
    ],
)  # fmt: skip
def test_a_faulty_file(folder, refusal, change, message):
    """In one line, before data are loaded: the target does not exist."""
    assert change[0] in MINE
    (folder / "mine.yaml").write_text(MINE.replace(*change))
    told = refusal("--target", "rtx", "--model_name_or_path", "tiny", "--recipe", "mine.yaml")
    assert re.match(rf"mine\.yaml,? {message}", told)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--recipe", "rte"], "--recipe rte: no such file; pass a YAML file of recipes, auto or none"),
        (["--recipe", ""], "--recipe is empty: pass a value, or leave the flag out"),
        (["--recipe", "mine.yaml", "--do_eval"], "--recipe mine.yaml says how to train: add --do_train, or leave it"),
        (["--recipe", "none", "--demo"], "--demo has its own tasks and encoder: leave --target, .*--recipe out"),
        (["--model_name_or_path", "nowhere/at/all"], "the encoder's folder nowhere/at/all does not exist"),
    ],
)
def test_a_refused_flag(folder, refusal, words, message):
    assert re.match(message, refusal("--target", "rte", *words))


def test_a_run_records_its_recipe_and_resumes_with_it_alone(tmp_path, refusal, monkeypatch, capsys):
    demo_encoder(tmp_path / "enc")
    config = json.loads((tmp_path / "enc" / "config.json").read_text())
    (tmp_path / "mood.csv").write_text("text,label\n" + "".join(f"w{n} x,{n % 2}\n" for n in range(40)))
    (tmp_path / "mood.yaml").write_text(
        f"kind: sequence_classification\ntext_columns: [text]\nvalidation_fraction: 0.2\n"
        f"files: {{splits: {{train: {tmp_path / 'mood.csv'}}}}}\n"
    )
    recipe = MINE.replace("hidden_size: 16, num_hidden_layers: 2", "hidden_size: {hidden_size}, num_hidden_layers: "
                          "{num_hidden_layers}".format(**config))  # fmt: skip
    (tmp_path / "mine.yaml").write_text(recipe)
    (tmp_path / "other.yaml").write_text(recipe.replace("3e-3", "4e-3"))
    words = ["--use_cpu", "--target", "mood", "--auxiliary", "none", "--task_config", tmp_path / "mood.yaml"]
    words += ["--model_name_or_path", tmp_path / "enc", "--output_dir", tmp_path / "out", "--disable_tqdm", "true"]
    words += ["--enable_jit_checkpoint", "false", "--save_strategy", "epoch"]
    words += ["--resume_from_checkpoint", "auto", "--recipe"]
    monkeypatch.setattr(sys, "argv", ["run_glue_avil.py", *map(str, words), str(tmp_path / "mine.yaml")])
    assert run_glue_avil.main() == 0
    assert "mine.yaml:tiny for mood with" in capsys.readouterr().out
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    for name, value in {"recipe": "mine.yaml:tiny", "learning_rate": 0.003, "num_train_epochs": 2}.items():
        assert re.search(rf"\| `{name}` \| {value}(\.0)? \|", card)
    results = (tmp_path / "out" / "train_results.json").read_text()
    assert run_glue_avil.main() == 0
    assert f"nothing was left to train: the run in {tmp_path / 'out'} had ended at step" in capsys.readouterr().out
    assert (tmp_path / "out" / "train_results.json").read_text() == results
    told = refusal(*words, tmp_path / "other.yaml")
    assert "the checkpoint was written with learning_rate=0.003, this run has 0.004" in told


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_recipe_of_the_package_can_be_applied(file, tmp_path):
    assert file.stem in available_tasks()
    for recipe in read_recipes(file):
        args = DriverTrainingArguments(output_dir=str(tmp_path), use_cpu=True)
        recipe.apply(args, ())
        assert settings(args) == defaults() | written(file.stem, recipe.key)


def test_the_page_lists_the_recipes():
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8").split("\n## Recipes\n")[1]
    rows = re.findall(r"(?m)^\| `(\w+)` \| (.*) \|$", page.split("\n## ")[0])
    assert dict(rows) == {file.stem: ", ".join(f"`{recipe.key}`" for recipe in read_recipes(file)) for file in FILES}


def test_the_example_of_the_page_is_a_recipe(tmp_path):
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8").split("\n## Recipes\n")[1]
    (tmp_path / "mine.yaml").write_text(page.split("```yaml")[1].split("```")[0], encoding="utf-8")
    (recipe,) = read_recipes(tmp_path / "mine.yaml")
    assert recipe.settings
