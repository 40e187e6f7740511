"""The intermediate representation: streams, the contract of kernels, and the dataflow graph."""
