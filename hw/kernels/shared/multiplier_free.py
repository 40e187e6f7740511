"""Base class of kernels that multiply wide operands in lookup tables instead of DSP blocks."""

from typing import Any, ClassVar, Self

from hw.host.errors import BitfabricError
from hw.ir.kernel import Kernel
from hw.kernels.shared.constant_product import ConstantProduct


class MultiplierFree(ConstantProduct):
    """An implementation of the first of ``alternatives``, its other base class, for operands that it would multiply in
    DSP blocks: those that are ``wide``.

    Raises BitfabricError as that class does, and for types of which it needs no multipliers.
    """

    saves_dsps: ClassVar[bool] = True

    weight_dtype: Any
    wide: Any

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[misc]
        if not self.wide:
            raise BitfabricError(
                f"{self.op}: weights {self.weight_dtype.name} and inputs {self.input_dtype.name} need no multipliers; "
                f"use {self.alternatives[0]}"
            )

    @classmethod
    def of(cls, product: Any) -> Self | None:
        return super().of(product) if product.wide else None  # type: ignore[misc]

    def plain(self) -> Kernel:
        return self.dense()
