"""Sum pooling, which is average pooling without the division (FINN: Pool, GlobalAccPool)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from qonnx.core.datatype import BaseDataType

from hw.ir.kernel import Role
from hw.ir.stream import smallest_dtype
from hw.kernels.shared.parameters import checked_range
from hw.kernels.shared.pool import Pool


@dataclass(frozen=True, eq=False)
class AccumulatePool(Pool):
    """The sum of every window (see Pool), in the narrowest type that holds every reachable sum.

    An average is the sum times a scale, which the consumer applies. For a global pool, ``kernel`` is the size of the
    image. ``input_range``: minimum and maximum of the inputs, where narrower than the range of ``dtype``. Raises
    BitfabricError for a kernel that does not fit the shape, for elements that are not integers, for a range beyond
    their type, and for a ``pe`` that does not divide the channels.
    """

    op: ClassVar[str] = "accumulate_pool"
    role: ClassVar[Role] = "window"
    ufunc: ClassVar[np.ufunc] = np.add

    shape: tuple[int, ...]
    kernel: tuple[int, ...]
    dtype: BaseDataType
    pe: int = 1
    windows: bool = False
    input_range: tuple[int, int] | None = None
    pixels: int = 1

    def __post_init__(self) -> None:
        checked_range(self.op, self.dtype, self.input_range)
        self._check_pool()

    def _partial(self, count: int) -> BaseDataType:
        low, high = checked_range(self.op, self.dtype, self.input_range)
        return smallest_dtype(count * low, count * high)

    def output_range(self) -> tuple[int, int]:
        """Minimum and maximum sum."""
        low, high = checked_range(self.op, self.dtype, self.input_range)
        count = int(np.prod(self.kernel))
        return count * low, count * high

    def _operation(self) -> str:
        return "sum"
