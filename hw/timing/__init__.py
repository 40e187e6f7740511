"""The exact behaviour of a graph in time: cycle model, deadlocks, FIFO depths."""
