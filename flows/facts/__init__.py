"""The facts that a build states, as types; ``flows.build_report`` has all of them together."""
