"""Execution of a graph: the emulator, and the RTL in Verilator."""
