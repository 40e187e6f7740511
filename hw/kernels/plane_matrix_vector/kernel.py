"""Matrix-vector product of wide operands without multipliers: an implementation of ``matrix_vector``.

``matrix_vector`` multiplies operands of 5 to 18 bits, for which it needs DSP blocks. This kernel computes the same
products in lookup tables, by the sign planes with which ``matrix_vector`` multiplies narrower operands: distributed
arithmetic (White 1989, "Applications of distributed arithmetic to digital signal processing") in offset binary code,
over pairs of lanes, all bits in one cycle. It is for devices of few DSP blocks, and for networks that may use none.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.shared.multiplier_free import MultiplierFree

PAIRED_LANES = 8
"""Minimum SIMD of the datapath ``input_planes``. Its memory holds sums and differences of pairs of weights, one bit
wider, and a term for each output: with 8 lanes of 8 bits half as many bits again as the weights, with one lane four
times as many."""


@dataclass(frozen=True, eq=False)
class PlaneMatrixVector(MultiplierFree, MatrixVector):
    """``matrix_vector`` with the same parameters, for operands that it would multiply in DSP blocks.

    Raises BitfabricError as ``matrix_vector`` does, and for types of which it needs no multipliers.
    """

    op: ClassVar[str] = "plane_matrix_vector"
    of_folding: ClassVar[tuple[str, ...]] = (*MatrixVector.of_folding, "datapath")

    @cached_property
    def datapath(self) -> str:
        return self.sign_planes if self.simd >= PAIRED_LANES else "weight_planes"

    @property
    def variant(self) -> str:
        return f"{MatrixVector.op} {self.datapath}"  # The same paths, of more planes.
