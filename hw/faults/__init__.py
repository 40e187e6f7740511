"""Soft errors: bits of the configuration and of memories that are flipped."""
