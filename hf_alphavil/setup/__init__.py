"""Set-up of a run: turns the user's arguments into checked datasets, collators and metrics."""
