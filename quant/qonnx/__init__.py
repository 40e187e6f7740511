"""Export to QONNX."""
