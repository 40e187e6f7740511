"""The kernel ``fork``."""
