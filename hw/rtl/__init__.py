"""SystemVerilog of a graph."""
