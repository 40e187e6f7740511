"""Hardware side of bitfabric: streams, cycles and LUTs. It starts from a QONNX file and never imports training code."""
