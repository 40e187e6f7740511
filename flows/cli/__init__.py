"""The commands, a module a theme. Heavy imports happen inside them, so that ``--help`` answers at once."""
