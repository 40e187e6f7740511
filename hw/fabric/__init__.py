"""What an FPGA family and a device are: data classes only."""
