"""The layers of a lowering whose sums float32 cannot hold, with their integers from exact sums."""

import numpy as np

from hw.host.steps import run
from hw.lowering.affine import floats
from hw.lowering.integer_tensor import IntegerTensor
from hw.lowering.layout_ops import inverse
from hw.lowering.lower import LoweredModel
from hw.lowering.rounding import Interval
from hw.verification.exact_reference import ExactReference, NoExactValueError

EXACT_INTEGERS = 1 << 24
"""Float32 holds all integers up to this magnitude."""


def inexact_layers(lowering: LoweredModel) -> frozenset[str]:
    """The edges (of sums and of codes) and the outputs whose values come from sums that float32 cannot hold.

    The integers of a sum of unequal scales are none of the model's; those that it adds count.
    """

    def widest(tensor: IntegerTensor) -> int:
        product = lowering.products.get(tensor.edge)
        own = 0 if tensor.edge in lowering.joins else max(map(abs, tensor.range))
        return own if product is None else max(own, *map(widest, product.sources))

    ends = {edge: decision.source for edge, decision in lowering.decisions.items()}
    ends |= {name: tensor for name, (tensor, host_steps) in lowering.ends.items() if not host_steps}
    ends |= {edge: tensor for edge, (_, tensor) in lowering.computed.items()}
    return frozenset(name for name, tensor in ends.items() if widest(tensor) > EXACT_INTEGERS)


class ExactLayers:
    """The integers of ``layers`` (see ``inexact_layers``) for one batch, from the reference with exact sums.

    ``reference`` may be None if there are no layers.
    """

    def __init__(self, lowering: LoweredModel, layers: frozenset[str], reference: ExactReference | None) -> None:
        self.lowering = lowering
        self.layers = layers
        self.reference = reference

    def codes(self, edge: str) -> Interval | None:
        """Bounds on the codes of a quantizer, equal but for values that float64 cannot tell from a decision point.

        None for other layers, and for operators that the reference cannot compute exactly.
        """
        if self.reference is None or edge not in self.layers:
            return None
        name, tensor = self.lowering.tensors[edge]
        try:
            if self.lowering.decisions[edge].quantizer.in_float32:
                sides = self.reference.rounded(name)
            else:
                value = self.reference.value(name)
                sides = value.low, value.high
        except NoExactValueError:
            return None
        return _integers(tensor, *sides)

    def sums(self, edge: str) -> Interval | None:
        """Bounds on the sums of an edge that is not quantized yet; None as for ``codes``."""
        if self.reference is None or edge not in self.layers:
            return None
        name, tensor = self.lowering.computed[edge]
        try:
            value = self.reference.value(name)
        except NoExactValueError:
            return None
        return _integers(tensor, value.low, value.high)

    def output(self, name: str) -> tuple[np.ndarray, Interval] | None:
        """The values of an output (N, *shape), and bounds on its integers; None as for ``codes``."""
        if self.reference is None or name not in self.layers:
            return None
        tensor, _ = self.lowering.ends[name]
        if tensor.affine is None:
            return None
        try:
            value = self.reference.value(name)
        except NoExactValueError:
            return None
        return value.middle, _integers(tensor, value.low, value.high)


def _integers(tensor: IntegerTensor, low: np.ndarray, high: np.ndarray) -> Interval:
    """Bounds on the integers of the tensor's edge, from those on the model's values."""
    assert tensor.affine is not None
    slope, offset = (floats(part) for part in tensor.affine)
    sides = [
        np.rint((run(inverse(tensor.layout_ops, tensor.shape), side.astype(np.float64)) - offset) / slope)
        for side in (low, high)
    ]
    return np.minimum(*sides).astype(np.int64), np.maximum(*sides).astype(np.int64)
