"""A suite of generated tasks with known relations, and a run of it."""
