"""Kernels that are a chain of other kernels, nodes of a graph that have become one."""

from dataclasses import dataclass, field

import numpy as np

from hw.host.errors import BitfabricError
from hw.ir.kernel import Kernel
from hw.ir.origin import Origin
from hw.ir.stream import Stream


@dataclass(frozen=True)
class Layer:
    """A node of a graph that has become a part of a chain: its name, the edge that it wrote, and its kernel."""

    name: str
    output: str
    kernel: Kernel
    origin: Origin = field(default_factory=Origin)


class ChainKernel(Kernel):
    """Base class of kernels that are other kernels, one after the other. Subclasses are dataclasses with ``layers``.

    Their constructor raises BitfabricError for layers that cannot be in one kernel in this order.
    """

    layers: tuple[Layer, ...]

    @staticmethod
    def suits(before: Kernel | None, kernel: Kernel) -> bool:
        """Whether ``kernel`` can be a part of a chain, behind ``before`` (None: as the first one)."""
        raise NotImplementedError

    def __post_init__(self) -> None:
        if not self.layers:
            raise BitfabricError(f"{self.op} has no layers")
        before: Kernel | None = None
        for layer in self.layers:
            if not self.suits(before, layer.kernel):
                behind = f" behind {before.op}" if before else ""
                raise BitfabricError(f"{self.op}: {layer.name}, {layer.kernel.op}, cannot be in a pipeline{behind}")
            before = layer.kernel

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """The kernels of the layers."""
        return tuple(layer.kernel for layer in self.layers)

    def inputs(self) -> tuple[Stream, ...]:
        (stream,) = self.kernels[0].inputs()
        return (stream,)

    def outputs(self) -> tuple[Stream, ...]:
        (stream,) = self.kernels[-1].outputs()
        return (stream,)

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = frames
        for kernel in self.kernels:
            (x,) = kernel.execute(x.reshape(-1, *kernel.inputs()[0].shape))
        return (x,)
