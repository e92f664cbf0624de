"""For tools that still call this file; everything is in pyproject.toml."""

from setuptools import setup

setup()
