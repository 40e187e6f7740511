"""Depthwise convolution of wide operands without multipliers: an implementation of ``depthwise``.

Each bit of a weight adds the input, shifted, as ``depthwise`` multiplies narrower operands.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Self

from hw.host.errors import BitfabricError
from hw.kernels.depthwise.kernel import Depthwise, Product


@dataclass(frozen=True, eq=False)
class PlaneDepthwise(Depthwise):
    """``depthwise`` with the same parameters, for operands that it would multiply in DSP blocks.

    Raises BitfabricError as ``depthwise`` does, and for types of which it needs no multipliers.
    """

    op: ClassVar[str] = "plane_depthwise"
    saves_dsps: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.wide:
            raise BitfabricError(
                f"{self.op}: weights {self.weight_dtype.name} and inputs {self.input_dtype.name} need no multipliers; "
                "use depthwise"
            )

    @classmethod
    def of(cls, product: Depthwise) -> Self | None:
        return super().of(product) if product.wide else None

    def plain(self) -> Depthwise:
        return self.dense()

    @cached_property
    def product(self) -> Product:
        # On Gowin the planes of inputs take twice the lookup tables of those of weights.
        return self.product_of("weight", self.weight_dtype.bitwidth())

    @property
    def variant(self) -> str:
        return Depthwise.op  # The same paths, of more planes.
