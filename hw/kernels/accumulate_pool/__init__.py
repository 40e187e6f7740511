"""The kernel ``accumulate_pool``."""
