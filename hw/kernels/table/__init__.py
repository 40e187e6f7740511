"""The kernel ``table``."""
