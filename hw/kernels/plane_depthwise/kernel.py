"""Depthwise convolution of wide operands without multipliers: an implementation of ``depthwise``.

Each bit of one operand adds the other one, shifted, as ``depthwise`` multiplies narrower operands: to
``plane_matrix_vector`` what ``depthwise`` is to ``matrix_vector``.
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
        return self.product_of(multiply=False)

    @property
    def variant(self) -> str:
        return Depthwise.op  # The same paths, of more planes.
