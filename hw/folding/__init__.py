"""The choice of every kernel's parallelism."""
