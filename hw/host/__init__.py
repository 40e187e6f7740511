"""What runs beside a board: arithmetic before and after the accelerator, link and driver."""
