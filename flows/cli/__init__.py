"""The commands, in one module per theme. Heavy imports happen inside them, so that ``--help`` answers at once."""
