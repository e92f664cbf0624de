"""Saving and resuming: checkpoints that are complete or absent, and the run's state in them."""
