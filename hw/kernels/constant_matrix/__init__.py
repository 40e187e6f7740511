"""The kernel ``constant_matrix``: a matrix-vector product whose weights are in the logic."""
