"""The recipe of a run of the script."""

from __future__ import annotations

from ..modeling.lora import LoraArguments, holds_adapters
from ..recipes import AUTO, NO_RECIPE, describe_recipe, find_recipe
from ..script_arguments import DriverArguments, DriverTrainingArguments


def use_recipe(driver: DriverArguments, args: DriverTrainingArguments, lora: LoraArguments, given: set[str]) -> None:
    """Sets what a recipe says and no flag gives, and prints it. From here on, `driver.recipe` is the recipe's name."""
    assert driver.target is not None  # `check_together`
    if driver.recipe == NO_RECIPE or not args.trains:
        return
    recipe, wanted = None, f"{driver.target} with {driver.model_name_or_path}"
    if driver.recipe == AUTO and (lora.use_peft or holds_adapters(driver.model_name_or_path)):
        wanted += " and adapters"  # the recipes of this package are for training all weights
    else:
        recipe = find_recipe(driver.recipe, driver.target, driver.model_name_or_path, driver.model_revision)
    if recipe is not None:
        recipe.apply(args, given)
        driver.recipe = recipe.name
    if args.process_index == 0:
        print(describe_recipe(recipe, wanted, args, given))
