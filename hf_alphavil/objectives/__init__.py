"""Objectives: a task's loss, entropy or score on any rows."""
