"""The host's share of a network: the floating-point steps before and after the integer dataflow graph."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class HostStep:
    """One element-wise or shape step on a batch, computed as the model's own reference computes it.

    ``op`` names the ONNX or QONNX operator; ``operands`` are its constant inputs, ``attributes`` its attributes.
    """

    op: str
    operands: tuple[np.ndarray, ...] = ()
    attributes: tuple[tuple[str, object], ...] = ()
