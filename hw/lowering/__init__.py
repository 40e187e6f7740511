"""QONNX to the integer dataflow graph, exactly."""
