"""What a graph is held against: the QONNX reference, and the comparison with it."""
