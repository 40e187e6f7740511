"""Operators on constants, computed with NumPy: element-wise ones, those on shapes, and those with sums."""
