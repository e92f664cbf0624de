"""The recipe of a run of the script."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from ..modeling.lora import LoraArguments, holds_adapters
from ..recipes import AUTO, NO_RECIPE, describe_recipe, find_recipe
from ..script_arguments import DriverArguments, DriverTrainingArguments


def use_recipe(
    driver: DriverArguments,
    args: DriverTrainingArguments,
    lora: LoraArguments,
    given: set[str],
    unread: Collection[str] = (),
) -> list[str]:
    """
    Sets what a recipe says and no flag gives. From here on, `driver.recipe` is the recipe's name.

    Args:
        driver, args, lora: The arguments of the run.
        given (`set[str]`): The fields that the user has given.
        unread (`Collection[str]`, *optional*): Settings that the run does not read.

    Returns:
        `list[str]`: What to print once training starts, line by line.
    """
    assert driver.target is not None  # `check_together`
    if driver.recipe == NO_RECIPE or not args.do_train:
        return []
    recipe, wanted = None, f"{driver.target} with {driver.model_name_or_path}"
    if driver.recipe == AUTO and (lora.use_peft or holds_adapters(driver.model_name_or_path)):
        wanted += " and adapters"  # the recipes of this package are for training all weights
    else:
        recipe = find_recipe(driver.recipe, driver.target, driver.model_name_or_path, driver.model_revision)
    if recipe is not None:
        settings = {name: value for name, value in recipe.settings.items() if name not in unread}
        recipe = replace(recipe, settings=settings)
        recipe.apply(args, given)
        driver.recipe = recipe.name
    return [describe_recipe(recipe, wanted, args, given | set(unread))]
