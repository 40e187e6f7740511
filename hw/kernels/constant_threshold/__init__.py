"""The kernel ``constant_threshold``."""
