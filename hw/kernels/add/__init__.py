"""The kernel ``add``."""
