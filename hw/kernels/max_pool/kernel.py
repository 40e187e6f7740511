"""Max pooling (FINN: StreamingMaxPool)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from qonnx.core.datatype import BaseDataType

from hw.ir.kernel import Role
from hw.kernels.shared.pool import Pool


@dataclass(frozen=True, eq=False)
class MaxPool(Pool):
    """The maximum of every window (see Pool). For 1-bit types the hardware is an OR gate.

    Raises BitfabricError for a kernel that does not fit the shape, for elements that are not integers, and for a
    ``pe`` that does not divide the channels.
    """

    op: ClassVar[str] = "max_pool"
    role: ClassVar[Role] = "window"
    ufunc: ClassVar[np.ufunc] = np.maximum

    shape: tuple[int, ...]
    kernel: tuple[int, ...]
    dtype: BaseDataType
    pe: int = 1
    windows: bool = False
    pixels: int = 1

    def __post_init__(self) -> None:
        self._check_pool()

    def _partial(self, count: int) -> BaseDataType:
        return self.dtype

    def _operation(self) -> str:
        if self.dtype.bitwidth() == 1:
            return "or"
        return "signed_max" if self.dtype.signed() else "max"
