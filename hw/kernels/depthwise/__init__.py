"""The kernel ``depthwise``."""
