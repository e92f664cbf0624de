"""Saves and resumes runs: checkpoints are written atomically and hold the run's full state."""
