"""Devices, synthesis, place and route, packing."""
