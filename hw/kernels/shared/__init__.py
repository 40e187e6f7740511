"""Python that several kernels use."""
