"""What runs beside a board: the arithmetic before and after the accelerator, the link and the driver.

Needs only NumPy and pyserial, and imports nothing else of ``hw``, so that a build can copy this folder.
"""
