"""Kernels that compute a chain of lookup layers: the layers, which order they may have, and what they compute."""

from dataclasses import dataclass, field

import numpy as np

from hw.host.errors import BitfabricError
from hw.ir.kernel import Kernel
from hw.ir.origin import Origin
from hw.kernels.arg_max.kernel import ArgMax
from hw.kernels.lookup_layer.kernel import LookupLayer
from hw.kernels.popcount_class.kernel import PopcountClass
from hw.kernels.thermometer.kernel import Thermometer


@dataclass(frozen=True)
class Layer:
    """A node of a graph that has become a part of a chain: its name, the edge that it wrote, and its kernel."""

    name: str
    output: str
    kernel: Kernel
    origin: Origin = field(default_factory=Origin)


def suits(before: Kernel | None, kernel: Kernel) -> bool:
    """Whether ``kernel`` can be a part of a chain, behind ``before`` (None: as the first one)."""
    if before is None:
        return isinstance(kernel, Thermometer | LookupLayer | PopcountClass)
    after = ArgMax if isinstance(before, PopcountClass) else (LookupLayer, PopcountClass)
    if not isinstance(before, Thermometer | LookupLayer | PopcountClass) or not isinstance(kernel, after):
        return False
    given, taken = before.outputs()[0], kernel.inputs()[0]
    return (given.shape, given.dtype) == (taken.shape, taken.dtype)


class LookupChain(Kernel):
    """The ``layers`` one after the other: an optional thermometer, lookup layers, an optional popcount by class, and an
    optional arg-max behind it; each with the same ``prefix``.

    Subclasses are dataclasses with this field.
    """

    layers: tuple[Layer, ...]

    def _check_layers(self) -> None:
        """Raise BitfabricError for layers in another order, and for neighbours that do not fit."""
        if not self.layers:
            raise BitfabricError(f"{self.op} has no layers")
        before: Kernel | None = None
        for layer in self.layers:
            if not suits(before, layer.kernel):
                behind = f" behind {before.op}" if before else ""
                raise BitfabricError(f"{self.op}: {layer.name}, {layer.kernel.op}, cannot be in a pipeline{behind}")
            before = layer.kernel

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """The kernels of the layers."""
        return tuple(layer.kernel for layer in self.layers)

    @property
    def prefix(self) -> tuple[int, ...]:
        """The shape of the positions."""
        return self.kernels[0].inputs()[0].shape[:-1]

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        for kernel in self.kernels:
            frames = kernel.execute(*frames)
        return frames
