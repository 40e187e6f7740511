"""The accelerator as an IP core: one SystemVerilog file with AXI4-Stream ports, and what other tools need of it."""
