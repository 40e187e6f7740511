"""The kernel ``requant``."""
