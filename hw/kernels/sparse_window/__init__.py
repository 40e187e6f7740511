"""The kernel ``sparse_window``."""
