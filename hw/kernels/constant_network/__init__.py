"""The kernel ``constant_network``: products and thresholds in logic as one pipeline."""
