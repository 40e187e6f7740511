"""The tables of the functions that convert FINN's operators to kernels, and kernels to FINN's operators."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hw.finn.reader import ReadOperator
from hw.finn.writer import WriteKernel
from hw.ir.kernel import Kernel


@dataclass(frozen=True)
class FinnOperators:
    """The conversions of a group of FINN's operators.

    ``reads``: FINN's operator (without ``_hls`` or ``_rtl``) -> function that appends kernels to a ``Reader``.
    ``writes``: kernel class -> function that appends FINN's nodes to a ``Writer``.

    Other packages add operators through the entry point group ``bitfabric.finn``, whose objects are FinnOperators.
    """

    reads: Mapping[str, ReadOperator] = field(default_factory=dict)
    writes: Mapping[type[Kernel], WriteKernel] = field(default_factory=dict)
