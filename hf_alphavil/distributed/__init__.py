"""Several processes: sharding, groups of processes, gradient exchange, launching."""
