"""Software of the host computer: the arithmetic before and after the accelerator, the link and the driver.

It needs only NumPy and pyserial and imports nothing else from ``hw``, because a build copies this folder.
"""
