"""The kernel ``lookup_layer``."""
