"""A task's loss or score on any rows."""
