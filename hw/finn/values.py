"""What reading FINN's dialect knows of a tensor: before the hardware, in it, or after it."""

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
    """A tensor before the hardware: ``steps`` from the model's input ``port``."""

    port: str
    shape: tuple[int, ...]
    steps: tuple[HostStep, ...] = ()


@dataclass(frozen=True)
class HardwareValue:
    """A tensor of the hardware: what FINN has there is ``(factor * integer + offset) / 2`` of ``edge``'s integers.

    ``factor`` is 2 but for 1-bit values and popcounts (1); ``offset`` is one integer, or one for each channel.
    """

    edge: str
    stream: Stream
    factor: int = 2
    offset: np.ndarray | int = 0

    @property
    def plain(self) -> bool:
        """Whether FINN has the integers themselves."""
        return self.factor == 2 and not np.any(self.offset)


@dataclass(frozen=True)
class HostOutput:
    """A tensor behind the hardware: the host's ``steps`` from what FINN has in ``value``, of shape ``seen`` there.

    Shapes are without the batch.
    """

    value: HardwareValue
    seen: tuple[int, ...]
    shape: tuple[int, ...]
    steps: tuple[HostStep, ...] = ()


def prefix_of(value: HardwareValue, given: tuple[int, ...]) -> tuple[int, ...]:
    """How a layer that takes a stream ``given``, by FINN's account, sees what really comes."""
    shape = value.stream.shape
    if value.stream.elements != prod(given):
        raise BitfabricError(f"it takes {given}, and its input is {shape}")
    # An image of one row may have come as one, or as a signal.
    same = tensor_shape(shape) == tensor_shape(given) or (len(shape) == 3 and shape[1:] == given)
    return shape[:-1] if same else given[:-1]


def output_steps(tail: HostOutput) -> tuple[HostStep, ...]:
    """The host's steps from our integers, given those from what FINN has, in its float32."""
    value, steps = tail.value, tail.steps
    first = [step("Cast", to="float32")]
    if value.factor == 1 and [each.op for each in steps[:2]] == ["Mul", "Sub"]:
        factor, offset = (each.operands[0] for each in steps[:2])
        if np.all(factor == 2) and np.all(offset == value.offset):
            value, steps = replace(value, factor=2, offset=0), steps[2:]  # popcounts that become sums again
    if tail.seen != value.stream.shape:
        if steps and steps[0].op == "Reshape" and shape_after_steps(steps[:1], tail.seen) == value.stream.shape:
            steps = steps[1:]  # back from an image of one row
        else:
            steps = (step("Reshape", shape=tail.seen), *steps)
    if np.any(value.offset):
        first.append(step("Add", np.asarray(value.offset, np.float32) * np.float32(value.factor == 1 or 0.5)))
    if value.factor == 1:
        first.append(step("Mul", np.array(0.5, np.float32)))
    if len(first) == 1 and next((each for each in steps if each.op not in RESHAPING), first[0]).op == "Cast" and steps:
        return steps
    return (*first, *steps)


def casts_to(each: HostStep, dtype: str) -> bool:
    return each.op == "Cast" and dict(each.attributes)["to"] == dtype


def shape_after_steps(steps: Iterable[HostStep], shape: tuple[int, ...]) -> tuple[int, ...]:
    for each in steps:
        if each.op in RESHAPING:
            shape = shape_after((each,), shape)
        elif each.op in ("TopK", "ArgMax"):
            shape = each(np.zeros((1, *shape), np.float32)).shape[1:]
    return shape
