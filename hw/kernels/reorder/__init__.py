"""The kernel ``reorder``."""
