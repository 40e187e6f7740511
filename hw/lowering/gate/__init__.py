"""The gate in front of lowering: a model file is read, checked and given its shapes here, before anything else uses it.

Everything after the gate may rely on what it has checked: an acyclic graph whose tensors are defined and written once,
operators with attributes and operands of the right types and in range, finite constants, known shapes, and sizes
within ``limits``. Every refusal is one line that names the file, node or tensor.
"""
