"""The tables that say how FINN's operators are read and which kernels they are written for."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hw.finn.reader import ReadOperator
from hw.finn.writer import WriteKernel
from hw.ir.kernel import Kernel


@dataclass(frozen=True)
class FinnOperators:
    """A family of FINN's operators.

    ``reads``: by FINN's operator (without ``_hls`` or ``_rtl``), a function that appends kernels to a ``Reader``;
    ``writes``: by kernel, a function that appends FINN's nodes to a ``Writer``.

    Other packages add families through the entry point group ``bitfabric.finn``, whose objects are FinnOperators.
    """

    reads: Mapping[str, ReadOperator] = field(default_factory=dict)
    writes: Mapping[type[Kernel], WriteKernel] = field(default_factory=dict)
