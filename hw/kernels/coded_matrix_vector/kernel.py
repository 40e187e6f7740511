"""Matrix-vector product whose weight memory holds codes of the weights: an implementation of ``matrix_vector``.

Matrices of few different weights, as clustering (Han et al. 2016, "Deep compression") and soft weight-sharing (Ullrich
et al. 2017) leave them, need log2 of their number of bits each, and a decoder in lookup tables for each weight that is
read at a time. It is found in the integers of any network. What repeats among the codes is stored once, as in
``tied_matrix_vector``.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from hw.kernels.matrix_vector.kernel import BIPOLAR, MatrixVector
from hw.kernels.tied_matrix_vector.codebook import Codebook, codebook
from hw.kernels.tied_matrix_vector.kernel import TiedMatrixVector
from hw.kernels.tied_matrix_vector.ties import LEAST_BITS


@dataclass(frozen=True, eq=False)
class CodedMatrixVector(TiedMatrixVector):
    """``matrix_vector`` with the same parameters, for matrices of few different weights.

    ``pixels`` is 1. Raises BitfabricError as ``matrix_vector`` does, for inputs of type BIPOLAR, and for a matrix whose
    codes need more than three quarters of the weights' bits.
    """

    op: ClassVar[str] = "coded_matrix_vector"
    coded: ClassVar[bool] = True
    refused: ClassVar[str] = "codes make no memory of weights shorter by a quarter; use matrix_vector"

    @classmethod
    def codebook_of(cls, product: MatrixVector) -> Codebook | None:
        small = product.weights.size * product.weight_dtype.bitwidth() < LEAST_BITS
        if small or product.input_dtype == BIPOLAR:
            return None
        return codebook(product.weights, product.weight_dtype)

    @cached_property
    def datapath(self) -> str:
        """``weight_planes`` in the place of ``input_planes``, whose memory holds sums of weights."""
        return "weight_planes" if super().datapath == "input_planes" else super().datapath
