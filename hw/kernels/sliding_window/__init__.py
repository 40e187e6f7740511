"""The kernel ``sliding_window``."""
