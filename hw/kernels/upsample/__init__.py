"""The kernel ``upsample``."""
