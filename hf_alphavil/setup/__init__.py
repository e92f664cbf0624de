"""From the user's arguments to checked datasets, collators and metrics."""
