"""Matrix-vector product of wide operands without multipliers: an implementation of ``matrix_vector``.

``matrix_vector`` multiplies operands of 5 to 18 bits, for which it needs DSP blocks. This kernel computes the same
products in lookup tables, by the sign planes with which ``matrix_vector`` multiplies narrower operands: distributed
arithmetic (White 1989, "Applications of distributed arithmetic to digital signal processing") in offset binary code,
over pairs of lanes, all bits in one cycle. It is for devices of few DSP blocks, and for networks that may use none.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Self

from hw.host.errors import BitfabricError
from hw.ir.kernel import Folding
from hw.kernels.matrix_vector.kernel import MatrixVector

PAIRED_LANES = 8
"""Minimum SIMD of the datapath ``input_planes``. Its memory holds sums and differences of pairs of weights, one bit
wider, and a term for each output: with 8 lanes of 8 bits half as many bits again as the weights, with one lane four
times as many."""


@dataclass(frozen=True, eq=False)
class PlaneMatrixVector(MatrixVector):
    """``matrix_vector`` with the same parameters, for operands that it would multiply in DSP blocks.

    Raises BitfabricError as ``matrix_vector`` does, and for types of which it needs no multipliers.
    """

    op: ClassVar[str] = "plane_matrix_vector"
    saves_dsps: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.wide:
            raise BitfabricError(
                f"{self.op}: weights {self.weight_dtype.name} and inputs {self.input_dtype.name} need no multipliers; "
                "use matrix_vector"
            )

    @classmethod
    def of(cls, product: MatrixVector) -> Self | None:
        return super().of(product) if product.wide else None

    def fold(self, folding: Folding) -> Self:
        folded = super().fold(folding)
        vars(folded).pop("datapath", None)
        return folded

    def plain(self) -> MatrixVector:
        return self.dense()

    @cached_property
    def datapath(self) -> str:
        return self.sign_planes if self.simd >= PAIRED_LANES else "weight_planes"

    @property
    def variant(self) -> str:
        return f"{MatrixVector.op} {self.datapath}"  # The same paths, of more planes.
