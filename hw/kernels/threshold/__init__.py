"""The kernel ``threshold``."""
