"""The kernel ``sparse_matrix_vector``."""
