"""A suite of generated tasks whose relations are known, and a run of it."""
