"""Straight-line implementations that the package is compared with."""
