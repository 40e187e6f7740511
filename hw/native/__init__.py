"""Compiled C++ functions: the system's C++ compiler, the cache of compiled libraries, and calls through ctypes."""
