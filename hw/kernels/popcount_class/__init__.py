"""The kernel ``popcount_class``."""
