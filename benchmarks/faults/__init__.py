"""The fault campaign: what is given to the programs here, and how each case must end.

``python -m benchmarks.faults`` runs the parts (or those that are named), prints a table of each, and writes the figures
into ``docs/reliability.md``. ``--size 0.1`` runs a tenth of the cases.
"""
