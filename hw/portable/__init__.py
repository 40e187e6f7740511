"""The integers of a dataflow graph in plain C and in plain NumPy, for programs of others."""
