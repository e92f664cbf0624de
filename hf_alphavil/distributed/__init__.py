"""Training on several processes: sharding, process groups, gradient exchange, launching."""
