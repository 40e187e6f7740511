"""The kernel ``select``."""
