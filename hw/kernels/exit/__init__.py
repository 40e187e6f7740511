"""Exit: where frames leave a network early."""
