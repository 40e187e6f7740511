"""The search over bits, widths and pruning of a network, with the exact cost of each candidate on a target."""
