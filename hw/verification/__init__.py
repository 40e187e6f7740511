"""Verification of a graph against the QONNX model: the float32 reference, and the comparison layer by layer."""
