"""C++ code of this package: the system's C++ compiler, the cache of what it built, and calls of compiled functions."""
