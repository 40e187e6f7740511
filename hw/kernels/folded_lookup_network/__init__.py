"""The kernel ``folded_lookup_network``."""
