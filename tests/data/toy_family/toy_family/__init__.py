"""An FPGA family of another package: like ECP5, but of lookup tables with five inputs, and without DSPs."""
