"""Transformations from a graph to a graph."""
