"""Reads recipes, finds the one for a target and an encoder, and applies it to the training arguments."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from ..modeling import MultitaskConfig
from ..modeling.loading import load_config
from ..settings.suggestion import did_you_mean
from ..settings.trainer_fields import check_trainer_fields
from ..tasks.definition_reader import benchmark_keys, simplified
from ..tasks.yaml_file import YamlFile

RECIPES_DIR = Path(__file__).parent
#: The values of `--recipe` that are not a file: the recipe in `RECIPES_DIR` if there is one, and no recipe.
AUTO, NO_RECIPE = "auto", "none"

#: What a recipe may set, in the order of messages.
SETTINGS: dict[str, type] = {
    "learning_rate": float,
    "num_train_epochs": float,
    "per_device_train_batch_size": int,
    "warmup_steps": float,
    "weight_decay": float,
    "adam_beta2": float,
    "adam_epsilon": float,
    "max_grad_norm": float,
}
#: What of an encoder's configuration must equal a recipe's. Names and paths do not matter.
ENCODER_KEYS: dict[str, type] = {"model_type": str, "hidden_size": int, "num_hidden_layers": int}


@dataclass(frozen=True)
class Recipe:
    """
    Training settings for one kind of encoder.

    Args:
        name (`str`): File and name, such as `rte/roberta-base`, or `mine.yaml:roberta-base` of the user's file.
        encoder (`Mapping[str, Any]`): The values of `ENCODER_KEYS`.
        settings (`Mapping[str, float]`): Values by training argument.
        source (`YamlFile`): The file, for messages.
        key (`str`): The recipe's name in the file.
    """

    name: str
    encoder: Mapping[str, Any]
    settings: Mapping[str, float]
    source: YamlFile
    key: str

    def apply(self, args: TrainingArguments, given: Collection[str]) -> None:
        """
        Sets what the user has not given.

        Args:
            args (`TrainingArguments`): The arguments. They are changed in place.
            given (`Collection[str]`): The names of the arguments that the user has given.

        Raises:
            ValueError: If a value is not allowed. The message says in which line of the file it is.
        """
        check_trainer_fields(args)  # what follows is then the recipe's fault
        for name in [name for name in self.settings if name not in given]:
            setattr(args, name, self.settings[name])
            try:
                check_trainer_fields(args)
            except ValueError as error:
                raise self.source.fault(f"{error}.", self.key, name) from None


def read_recipes(file: Path, label: str | None = None) -> list[Recipe]:
    """
    Reads a file of recipes: a mapping from names to recipes, each with its `encoder` and its settings.

    Args:
        file (`Path`): The YAML file.
        label (`str`, *optional*):
            What the names of the recipes start with, before a slash. Defaults to the file's name and a colon, which
            no path of a machine is part of.

    Returns:
        `list[Recipe]`: The recipes, each for another encoder.

    Raises:
        DataError: If the file or a recipe is faulty. The message gives file and line.
    """
    source = YamlFile(file)
    recipes: list[Recipe] = []
    for key, content in source.content.items():
        start = f"{label}/" if label else f"{file.name}:"
        recipe = _read_recipe(source, str(key), content, f"{start}{key}")
        if twin := next((other for other in recipes if other.encoder == recipe.encoder), None):
            raise source.fault(f"{key!r} is for the encoder of {twin.key!r}: leave one of them out.", str(key))
        recipes.append(recipe)
    return recipes


def find_recipe(
    choice: str, target: str, encoder: str | os.PathLike[str], revision: str | None = None
) -> Recipe | None:
    """
    Finds the recipe for a target and an encoder.

    Args:
        choice (`str`): `auto` for a recipe of this package, or the path of a file of recipes.
        target (`str`): Name of the target task.
        encoder (`str` or `os.PathLike`): Hub id or folder of an encoder or a multitask model.
        revision (`str`, *optional*): Revision on the Hub.

    Returns:
        `Recipe`, *optional*: The recipe, or `None` if this package has none. The encoder's configuration is only
        read if there are recipes for the target.

    Raises:
        DataError: If the file is faulty.
        OSError, ValueError: If the encoder's configuration cannot be read, or the file has no recipe for it.
    """
    if choice == AUTO:
        key = benchmark_keys().get(simplified(target))
        file = RECIPES_DIR / f"{key}.yaml"
        recipes = read_recipes(file, key) if file.is_file() else []
    elif Path(choice).exists():
        recipes = read_recipes(Path(choice))
    else:
        raise ValueError(f"--recipe {choice}: no such file; pass a YAML file of recipes, {AUTO} or {NO_RECIPE}")
    if not recipes and choice == AUTO:
        return None
    config = load_config(encoder, revision=revision)
    config = config.encoder if isinstance(config, MultitaskConfig) else config
    described = {name: getattr(config, name, None) for name in ENCODER_KEYS}
    for recipe in recipes:
        if recipe.encoder == described:
            return recipe
    if choice == AUTO:
        return None
    raise ValueError(
        f"{choice} has no recipe for {encoder} ({_listed(described)}): add one, or pass --recipe {AUTO} or {NO_RECIPE}"
    )


def describe_recipe(recipe: Recipe | None, wanted: str, args: TrainingArguments, given: Collection[str]) -> str:
    """
    Says in one line what a recipe has set, or which defaults apply without one.

    Args:
        recipe (`Recipe`, *optional*): The recipe, which has been applied.
        wanted (`str`): For what a recipe was looked for, such as `rte with roberta-base`.
        args (`TrainingArguments`): The arguments of the run.
        given (`Collection[str]`): The names of the arguments that the user has given.
    """
    names = [name for name in SETTINGS if recipe is None or name in recipe.settings]
    own = _listed({name: getattr(args, name) for name in names if name in given})
    others = _listed({name: getattr(args, name) for name in names if name not in given}) or "nothing"
    if recipe is None:
        return f"no recipe for {wanted}: the defaults are {others}"
    return f"recipe {recipe.name} for {wanted} sets {others}" + (f"; your flags set {own}" if own else "")


def _read_recipe(source: YamlFile, key: str, content: Any, full_name: str) -> Recipe:
    what = f"the recipe {key!r}"
    if not isinstance(content, dict):
        raise source.fault(f"{what} is {content!r:.80}: write a mapping with 'encoder' and settings.", key)
    _check_keys(source, what, content, ["encoder", *SETTINGS], key)
    encoder = content.get("encoder")
    if not isinstance(encoder, dict):
        raise source.fault(f"{what} has encoder={encoder!r:.80}: write {', '.join(ENCODER_KEYS)}.", key, "encoder")
    place = (key, "encoder")
    _check_keys(source, f"the encoder of {what}", encoder, list(ENCODER_KEYS), *place)
    for name, kind in ENCODER_KEYS.items():
        if type(value := encoder.get(name)) is not kind:
            wanted = "a whole number" if kind is int else "text"
            raise source.fault(f"the encoder of {what} has {name}={value!r:.80}: write {wanted}.", *place, name)
    settings = {name: _number(source, value, key, name) for name, value in content.items() if name != "encoder"}
    return Recipe(full_name, encoder, settings, source, key)


def _check_keys(source: YamlFile, what: str, content: Mapping[str, Any], known: list[str], *place: str) -> None:
    for name in content:
        if name not in known:
            hint = did_you_mean(name, known)
            raise source.fault(
                f"{what} has the unknown key {name!r}; known are {', '.join(known)}.{hint}", *place, str(name)
            )


def _number(source: YamlFile, value: Any, key: str, name: str) -> float:
    kind = SETTINGS[name]
    try:
        return kind(str(value))  # YAML reads 2e-5 as text
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise source.fault(f"{name}={value!r:.80}: write {wanted}.", key, name) from None


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())
