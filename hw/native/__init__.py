"""Compiled C++ functions (compiler, cache of libraries, calls through ctypes), and child processes."""
