"""Margin: whether the largest of a frame's values exceeds all others clearly."""
