"""Training loops, runs, checkpoints."""
