"""Measurements that the README quotes: ``python -m benchmarks.NAME``. Each makes its own model and prints a table."""
