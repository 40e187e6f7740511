"""The kernel ``fifo``."""
