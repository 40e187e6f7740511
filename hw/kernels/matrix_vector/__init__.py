"""The kernel ``matrix_vector``."""
