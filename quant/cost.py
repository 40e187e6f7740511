"""The hardware cost of a layer, for training, pruning and search: a protocol without an implementation.

``quant`` does not depend on hardware. ``flows.cost.HardwareCost`` implements the protocol with the kernels, the folding
search and the resource model of ``hw``. Any function with the same signature can replace it.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from quant.errors import QuantError
from quant.structure import Structure

__all__ = [
    "CostModel",
    "LayerBits",
    "LayerCost",
    "LayerShape",
]


@dataclass(frozen=True)
class LayerShape:
    """A linear or convolution layer, for one frame.

    ``inputs`` and ``outputs`` are features or channels. A convolution has a ``kernel`` and the spatial size ``image``
    of its input, (L,) or (H, W). It has ``stride``, ``dilation`` and ``padding`` (zeros on both sides) for each axis;
    None means 1, 1 and 0. ``groups`` is 1, or the number of channels for a depthwise convolution. A linear layer has
    neither kernel nor image; ``image`` without ``kernel`` states the positions that a linear layer is applied to.

    Raises QuantError (status 2) for sizes below 1, for a mismatch of axes, and for any other number of groups.
    """

    inputs: int
    outputs: int
    kernel: tuple[int, ...] = ()
    image: tuple[int, ...] = ()
    stride: tuple[int, ...] | None = None
    dilation: tuple[int, ...] | None = None
    padding: tuple[int, ...] | None = None
    groups: int = 1

    def __post_init__(self) -> None:
        axes = len(self.kernel)
        object.__setattr__(self, "stride", self.stride or (1,) * axes)
        object.__setattr__(self, "dilation", self.dilation or (1,) * axes)
        object.__setattr__(self, "padding", self.padding or (0,) * axes)
        lengths = {len(each or ()) for each in (self.kernel, self.stride, self.dilation, self.padding)}
        if min(self.inputs, self.outputs, *self.kernel, *self.image) < 1:
            raise QuantError(f"{self} has a size below 1", status=2)
        if len(lengths) > 1 or axes > 2 or (axes and len(self.image) != axes):
            raise QuantError(
                f"{self}: kernel, image, stride, dilation and padding must have 1 or 2 numbers each, as many as the "
                "kernel has axes",
                status=2,
            )
        if self.groups != 1 and not self.depthwise:
            raise QuantError(f"{self}: groups must be 1, or equal inputs and outputs (depthwise)", status=2)

    def __str__(self) -> str:
        kind = f"convolution {'x'.join(map(str, self.kernel))}" if self.kernel else "linear layer"
        where = f" at {'x'.join(map(str, self.image))}" if self.image else ""
        return f"a {kind} of {self.inputs} inputs and {self.outputs} outputs{where}"

    @property
    def depthwise(self) -> bool:
        """Whether every channel has its own filter."""
        return self.groups > 1 and self.groups == self.inputs == self.outputs

    @property
    def weights(self) -> tuple[int, ...]:
        """Shape of the weight tensor: (outputs, inputs / groups, *kernel)."""
        return (self.outputs, self.inputs // self.groups, *self.kernel)


MAX_BITS = 16
"""Most bits of weights and of inputs that a cost model knows."""


@dataclass(frozen=True)
class LayerBits:
    """Bit widths of a layer's weights and inputs.

    1-bit weights are -1 and +1, "ternary" weights are -1, 0 and +1, and wider weights are signed integers. Inputs are
    unsigned or signed integers; signed 1-bit inputs are -1 and +1.

    Raises QuantError (status 2) for widths outside 1 to ``MAX_BITS``.
    """

    weights: int | Literal["ternary"]
    inputs: int
    signed_inputs: bool = False

    def __post_init__(self) -> None:
        for name, bits in (("weights", self.weights), ("inputs", self.inputs)):
            if bits != "ternary" and not 1 <= int(bits) <= MAX_BITS:
                raise QuantError(f"{name}={bits} bits are not from 1 to {MAX_BITS}", status=2)


@dataclass(frozen=True)
class LayerCost:
    """Hardware cost of a layer in resources of the device's family.

    ``lut`` lookup tables, ``ff`` flip-flops, ``bram`` block RAMs, ``dsp`` multipliers, ``cycles`` between two frames,
    and ``rom_bits`` of weights. ``share``: the sum of the shares of the device that the four resources take.
    """

    lut: int
    ff: int
    bram: int
    dsp: int
    cycles: int
    rom_bits: int
    share: float = 0.0


class CostModel(Protocol):
    """The cost of a layer in hardware: ``cost(shape, bits, density, structure, integers)``."""

    def __call__(
        self,
        shape: LayerShape,
        bits: LayerBits,
        density: float = 1.0,
        structure: Structure | str = "unstructured",
        integers: np.ndarray | None = None,
    ) -> LayerCost:
        """``density`` is the fraction (0 to 1) of the weights that are not zero, ``structure`` says which ones
        (``quant.structure``). ``integers``, of the shape ``shape.weights``, are the weights where they are known, with
        all that repeats in them (ties, few values); ``density`` is theirs then."""
        ...
