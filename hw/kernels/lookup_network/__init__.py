"""The kernel ``lookup_network``."""
