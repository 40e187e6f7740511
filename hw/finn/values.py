"""The reader's description of a tensor in FINN's dialect: before the hardware, in it, or after it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from hw.finn.dialect import tensor_shape
from hw.host.errors import BitfabricError
from hw.host.operators import RESHAPING
from hw.host.steps import HostStep, step
from hw.ir.stream import Stream
from hw.lowering.layout_ops import shape_after


@dataclass(frozen=True)
class HostInput:
    """A tensor before the hardware: the host computes it from the model's input ``port`` by ``steps``."""

    port: str
    shape: tuple[int, ...]
    steps: tuple[HostStep, ...] = ()


@dataclass(frozen=True)
class HardwareValue:
    """A tensor in the hardware, where FINN's value is ``(factor * integer + offset) / 2`` of ``edge``'s integers.

    ``factor`` is 1 for 1-bit values and popcounts, else 2; ``offset`` is one integer, or one for each channel.
    """

    edge: str
    stream: Stream
    factor: int = 2
    offset: np.ndarray | int = 0

    @property
    def plain(self) -> bool:
        """Whether FINN's values are the integers themselves."""
        return self.factor == 2 and not np.any(self.offset)


@dataclass(frozen=True)
class HostOutput:
    """A tensor after the hardware: the host computes it, in ``shape``, by ``steps`` from FINN's values of ``value``.

    ``seen`` is the shape of FINN's values. Shapes are without the batch.
    """

    value: HardwareValue
    seen: tuple[int, ...]
    shape: tuple[int, ...]
    steps: tuple[HostStep, ...] = ()


def prefix_of(value: HardwareValue, given: tuple[int, ...]) -> tuple[int, ...]:
    """The leading axes of a layer's input, whose shape is ``given`` in FINN's attributes.

    FINN's shapes do not distinguish signals from images of one row; the shape of ``value`` does. Raises BitfabricError
    if the two have different numbers of elements.
    """
    shape = value.stream.shape
    if value.stream.elements != prod(given):
        raise BitfabricError(f"it takes {given}, and its input is {shape}")
    # An image of one row may be the stream's own shape, or represent a signal.
    same = tensor_shape(shape) == tensor_shape(given) or (len(shape) == 3 and shape[1:] == given)
    return shape[:-1] if same else given[:-1]


def output_steps(output: HostOutput) -> tuple[HostStep, ...]:
    """The host's steps from our integers to the tensor: the conversion to FINN's float32 values, then its own steps."""
    value, steps = output.value, output.steps
    first = [step("Cast", to="float32")]
    if value.factor == 1 and [each.op for each in steps[:2]] == ["Mul", "Sub"]:
        factor, offset = (each.operands[0] for each in steps[:2])
        if np.all(factor == 2) and np.all(offset == value.offset):
            value, steps = replace(value, factor=2, offset=0), steps[2:]  # popcounts that become sums again
    if output.seen != value.stream.shape:
        if steps and steps[0].op == "Reshape" and shape_after_steps(steps[:1], output.seen) == value.stream.shape:
            steps = steps[1:]  # back from an image of one row
        else:
            steps = (step("Reshape", shape=output.seen), *steps)
    if np.any(value.offset):
        first.append(step("Add", np.asarray(value.offset, np.float32) * np.float32(value.factor == 1 or 0.5)))
    if value.factor == 1:
        first.append(step("Mul", np.array(0.5, np.float32)))
    if len(first) == 1 and next((each for each in steps if each.op not in RESHAPING), first[0]).op == "Cast" and steps:
        return steps
    return (*first, *steps)


def casts_to(each: HostStep, dtype: str) -> bool:
    """Whether a step is a Cast to a type."""
    return each.op == "Cast" and dict(each.attributes)["to"] == dtype


def shape_after_steps(steps: Iterable[HostStep], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of frames after host steps, without the batch."""
    for each in steps:
        if each.op in RESHAPING:
            shape = shape_after((each,), shape)
        elif each.op in ("TopK", "ArgMax"):
            shape = each(np.zeros((1, *shape), np.float32)).shape[1:]
    return shape
