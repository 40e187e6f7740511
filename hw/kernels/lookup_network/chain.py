"""Chains of lookup layers: which layers they have, in which order."""

from hw.ir.kernel import Kernel
from hw.kernels.arg_max.kernel import ArgMax
from hw.kernels.lookup_layer.kernel import LookupLayer
from hw.kernels.popcount_class.kernel import PopcountClass
from hw.kernels.shared.chain import ChainKernel
from hw.kernels.thermometer.kernel import Thermometer


class LookupChain(ChainKernel):
    """The ``layers`` one after the other: an optional thermometer, lookup layers, an optional popcount by class, and an
    optional arg-max behind it; each with the same ``prefix``.

    Subclasses are dataclasses with this field.
    """

    @staticmethod
    def suits(before: Kernel | None, kernel: Kernel) -> bool:
        if before is None:
            return isinstance(kernel, Thermometer | LookupLayer | PopcountClass)
        after = ArgMax if isinstance(before, PopcountClass) else (LookupLayer, PopcountClass)
        if not isinstance(before, Thermometer | LookupLayer | PopcountClass) or not isinstance(kernel, after):
            return False
        given, taken = before.outputs()[0], kernel.inputs()[0]
        return (given.shape, given.dtype) == (taken.shape, taken.dtype)

    @property
    def prefix(self) -> tuple[int, ...]:
        """The shape of the positions."""
        return self.kernels[0].inputs()[0].shape[:-1]
