"""Fair comparisons of methods: the same rows and as many examples for all, several seeds, and intervals."""
