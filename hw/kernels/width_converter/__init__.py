"""The kernel ``width_converter``."""
