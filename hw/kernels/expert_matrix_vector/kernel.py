"""Matrix-vector product with one of several constant matrices, which another stream chooses for each frame.

The experts of a sparsely gated mixture (Shazeer et al., "Outrageously large neural networks: the sparsely-gated
mixture-of-experts layer", ICLR 2017) with one expert a frame, all of one size: the datapath is that of
``matrix_vector``, and its memory holds the words of all matrices, one set behind the other.
"""

from copy import copy
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from qonnx.core.datatype import BaseDataType

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.host.errors import BitfabricError
from hw.ir.kernel import Folding, Kernel, Role, Rtl, Schedule
from hw.ir.stream import Stream, smallest_dtype
from hw.kernels.matrix_vector import cost
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.shared import cell_costs
from hw.kernels.shared.parameters import divisors


@dataclass(frozen=True, eq=False)
class ExpertMatrixVector(Kernel):
    """``y[m] = sum over k of weights[choice, m, k] * x[k]``, exactly.

    ``weights`` is (E, MH, MW): experts by outputs by inputs. Inputs: the choice (1,), an unsigned integer, and ``x``
    (MW,) with ``simd`` lanes; ``y`` is (MH,) with ``pe`` lanes, in the narrowest type that holds every reachable sum of
    every expert. A choice of E or more is the last expert. The types and the other parameters are those of
    ``matrix_vector``.

    A frame takes a cycle for the choice, and NF * SF cycles for the product.

    Raises BitfabricError for fewer than two experts, and as ``matrix_vector`` does.
    """

    op: ClassVar[str] = "expert_matrix_vector"
    role: ClassVar[Role] = "compute"
    sources: ClassVar[tuple[str, ...]] = MatrixVector.sources

    weights: np.ndarray
    weight_dtype: BaseDataType
    input_dtype: BaseDataType
    pe: int = 1
    simd: int = 1
    input_range: tuple[int, int] | None = None
    parity: bool = False

    stack: ClassVar[MatrixVector]
    """The product with the rows of all experts, one expert behind the other: its words are those of this kernel. It is
    of the instance, though no parameter."""

    def __post_init__(self) -> None:
        if self.weights.ndim != 3 or len(self.weights) < 2:
            raise BitfabricError(
                f"{self.op}: weights of shape {self.weights.shape} are not those of two or more experts; give "
                "(experts, outputs, inputs)"
            )
        self._check_outputs(self.pe)
        rows = self.weights.reshape(-1, self.weights.shape[2])
        stack = MatrixVector(
            rows, self.weight_dtype, self.input_dtype, (), self.pe, self.simd, self.input_range, parity=self.parity
        )
        object.__setattr__(self, "stack", stack)
        object.__setattr__(self, "weights", stack.weights.reshape(self.weights.shape))

    def _check_outputs(self, pe: int) -> None:
        if pe < 1 or self.mh % pe:
            legal = ", ".join(map(str, divisors(self.mh)))
            raise BitfabricError(f"{self.op}: pe={pe} does not divide the {self.mh} outputs; legal: {legal}")

    @property
    def experts(self) -> int:
        """Sets of weights."""
        return self.weights.shape[0]

    @property
    def mh(self) -> int:
        """Outputs."""
        return self.weights.shape[1]

    @property
    def nf(self) -> int:
        """Output beats."""
        return self.mh // self.pe

    @property
    def choices(self) -> BaseDataType:
        """The type of the choice."""
        return smallest_dtype(0, self.experts - 1)

    def inputs(self) -> tuple[Stream, ...]:
        return Stream((1,), self.choices), self.stack.inputs()[0]

    def outputs(self) -> tuple[Stream, ...]:
        return (Stream((self.mh,), self.stack.accumulator_dtype, self.pe),)

    def foldings(self) -> tuple[Folding, ...]:
        every = (Folding(pe, simd) for pe in divisors(self.mh) for simd in divisors(self.weights.shape[2]))
        return tuple(sorted(every, key=lambda f: (f.pe * f.simd, f.pe)))

    def fold(self, folding: Folding) -> Self:
        self._check_outputs(folding.pe)
        folded = copy(self)
        for name, value in (("pe", folding.pe), ("simd", folding.simd), ("stack", self.stack.fold(folding))):
            object.__setattr__(folded, name, value)
        return folded

    @property
    def variant(self) -> str:
        return self.stack.variant

    def has_parity(self, family: Family) -> bool:
        return self.stack.has_parity(family)

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        choice, x = frames
        every = self.stack.execute(x)[0].reshape(len(x), self.experts, self.mh)
        chosen = np.minimum(choice.reshape(-1), self.experts - 1)
        return (every[np.arange(len(x)), chosen],)

    @property
    def interval(self) -> int:
        return 1 + self.nf * self.stack.sf

    def schedule(self) -> Schedule:
        word, sf = np.arange(self.interval) - 1, self.stack.sf
        produces = word % sf == sf - 1
        produces[0] = False
        return Schedule((word < 0, (word >= 0) & (word < sf)), (produces,), self.stack.latency, self.stack.credits)

    def resources(self, family: Family) -> Resources:
        return cost.resources(self.stack, family) + self._choosing(family)

    def least_resources(self, family: Family) -> Resources:
        """A lower bound of ``resources``, without a look at the contents of memories."""
        return cost.resources(self.stack, family, contents=False) + self._choosing(family)

    def _choosing(self, family: Family) -> Resources:
        """Cost of the first address of each expert, and of the count of a vector's words beside it."""
        address = (self.stack.memory.depth - 1).bit_length()
        return cell_costs.counter(self.nf * self.stack.sf, family) + Resources(address + 2, 1)

    def rtl(self, family: Family) -> Rtl:
        stacked = self.stack.rtl(family)
        parameters = {name: value for name, value in stacked.parameters.items() if name != "PIXELS"}
        chosen = {"NF": self.nf, "EXPERTS": self.experts, "CHOICE_BITS": self.choices.bitwidth()}
        return Rtl(f"bf_{self.op}", parameters | chosen, stacked.memories)
