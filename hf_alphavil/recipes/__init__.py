"""Recipes: training settings that suit a target task and an encoder, in one YAML file per task."""

from .recipe import AUTO, NO_RECIPE, Recipe, describe_recipe, find_recipe, read_recipes

__all__ = ["AUTO", "NO_RECIPE", "Recipe", "describe_recipe", "find_recipe", "read_recipes"]
