"""FPGA boards: their pins, the image with its host link, the driver, and a simulated board."""
