"""Depthwise convolution of wide operands without multipliers: an implementation of ``depthwise``.

Each bit of the operand that has fewer adds the other one, shifted, as ``depthwise`` multiplies narrower operands.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from hw.kernels.depthwise.kernel import Depthwise, Product
from hw.kernels.shared.multiplier_free import MultiplierFree


@dataclass(frozen=True, eq=False)
class PlaneDepthwise(MultiplierFree, Depthwise):
    """``depthwise`` with the same parameters, for operands that it would multiply in DSP blocks.

    Raises BitfabricError as ``depthwise`` does, and for types of which it needs no multipliers.
    """

    op: ClassVar[str] = "plane_depthwise"

    @cached_property
    def product(self) -> Product:
        return self.product_of_planes

    @property
    def variant(self) -> str:
        return Depthwise.op  # The same paths, of more planes.
