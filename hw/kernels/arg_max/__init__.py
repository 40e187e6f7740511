"""The kernel ``arg_max``."""
