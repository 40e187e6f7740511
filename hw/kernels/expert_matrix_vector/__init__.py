"""The kernel ``expert_matrix_vector``."""
