"""The kernel ``concat``."""
