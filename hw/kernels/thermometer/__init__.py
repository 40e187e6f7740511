"""The kernel ``thermometer``."""
