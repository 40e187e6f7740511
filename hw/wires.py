"""What lowering knows of a tensor: the host's so far, or an edge's integers and the steps from them to its values."""

from dataclasses import dataclass, replace

import numpy as np
from qonnx.core.datatype import BaseDataType, DataType

from hw.errors import BitfabricError
from hw.host import HostStep, run, step
from hw.operators import QUANTIZERS, RESHAPING, code_range
from hw.stream import smallest_dtype

Steps = tuple[HostStep, ...]

AS_FLOAT32 = step("Cast", to="float32")
"""Where the model's own arithmetic begins: behind integers, or behind the exact result of a matrix product."""


@dataclass(frozen=True, eq=False)
class HostTensor:
    """A tensor that is still the host's: the steps from the model's input ``port``, and the nodes they come from."""

    port: str
    shape: tuple[int, ...]
    steps: Steps = ()
    origins: tuple[str, ...] = ()

    def then(self, steps: Steps, origin: str) -> "HostTensor":
        return replace(self, steps=self.steps + steps, origins=self.origins + (origin,) * len(steps))


@dataclass(frozen=True, eq=False)
class Wire:
    """A tensor as the integers of ``edge`` and the steps from them to its values (``origins``: their nodes).

    ``shape`` and ``dtype`` are the edge's; ``low`` and ``high`` (int64, of that shape) bound what reaches it.
    """

    edge: str
    shape: tuple[int, ...]
    dtype: BaseDataType
    low: np.ndarray
    high: np.ndarray
    steps: Steps = ()
    origins: tuple[str, ...] = ()

    def then(self, steps: Steps, origin: str) -> "Wire":
        return replace(self, steps=self.steps + steps, origins=self.origins + (origin,) * len(steps))


def wire(
    edge: str, shape: tuple[int, ...], dtype: BaseDataType, low: int | None = None, high: int | None = None
) -> Wire:
    """A wire whose values are its integers, with the same bounds (default: the type's) everywhere."""
    least = np.full(shape, int(dtype.min()) if low is None else low, np.int64)
    most = np.full(shape, int(dtype.max()) if high is None else high, np.int64)
    return Wire(edge, shape, dtype, least, most).then((AS_FLOAT32,), "")


BY_AXIS = frozenset({"BatchNormalization", "MultiThreshold", "Softmax", "LogSoftmax", "TopK", "ArgMax"})
"""Steps that know an axis, so that elements cannot be moved before them."""


def moves_first(source: Wire) -> tuple[Steps, Wire]:
    """Reshape and Transpose steps taken to the front, for the host to do, and the wire behind them.

    The operands of the steps that they pass are moved along. No steps, and the wire itself, where that cannot be.
    """
    last = max((i for i, each in enumerate(source.steps) if each.op in RESHAPING), default=-1)
    if last < 0 or any(each.op in BY_AXIS for each in source.steps[:last]):
        return (), source
    moves: list[HostStep] = []
    rest: list[HostStep] = []
    origins: list[str] = []
    shape = (1, *source.shape)
    for each, origin in zip(source.steps, source.origins, strict=True):
        if each.op in RESHAPING:
            moves.append(each)
            rest = [replace(old, operands=tuple(_moved(value, each, shape) for value in old.operands)) for old in rest]
            shape = each(np.empty(shape, bool)).shape
        else:
            rest.append(each)
            origins.append(origin)
    low, high = (run(moves, bound[None])[0] for bound in (source.low, source.high))
    return tuple(moves), replace(source, shape=low.shape, low=low, high=high, steps=tuple(rest), origins=tuple(origins))


def _moved(operand: np.ndarray, move: HostStep, shape: tuple[int, ...]) -> np.ndarray:
    return operand if operand.size == 1 else move(np.broadcast_to(operand, shape))


def dtype_of(low: int, high: int, binary: bool = False) -> BaseDataType:
    """The narrowest type of a range: BIPOLAR if ``binary``, TERNARY for -1..1."""
    if binary:
        return DataType["BIPOLAR"]
    return DataType["TERNARY"] if (low, high) == (-1, 1) else smallest_dtype(low, high)


def in_float64(steps: Steps) -> Steps:
    """The steps without rounding to float32."""
    return tuple(each for each in steps if not to_float32(each))


def to_float32(each: HostStep) -> bool:
    """Whether a step is AS_FLOAT32."""
    return each.op == "Cast" and each.attributes == AS_FLOAT32.attributes


def last_quantizer(steps: Steps) -> int | None:
    """Index of the last quantizer among steps."""
    return max((i for i, each in enumerate(steps) if each.op in QUANTIZERS), default=None)


def binary(quantizer: HostStep) -> bool:
    """Whether a quantizer gives only -1 and +1."""
    attributes = dict(quantizer.attributes)
    match quantizer.op:
        case "Quant":
            return attributes["bits"] == 1 and bool(attributes["signed"])
        case "MultiThreshold":
            return attributes["unit"] == 2
        case op:
            return op == "BipolarQuant"


def quantizer_range(quantizer: HostStep, origin: str) -> tuple[int, int]:
    """Least and greatest code that a quantizer gives, whatever its input. Raises BitfabricError for an old Trunc."""
    attributes = dict(quantizer.attributes)
    match quantizer.op:
        case "Quant":
            return code_range(attributes["bits"], attributes["signed"], attributes["narrow"])
        case "MultiThreshold":
            least: int = attributes["least"]
            return least, least + quantizer.operands[0].shape[1] * attributes["unit"]
        case "Trunc":
            clip = attributes["clip"]
            if clip is None:
                raise BitfabricError(
                    f"{origin}: Trunc cannot be the input's quantizer: it bounds nothing; put a Quant there"
                )
            return clip
        case _:
            return -1, 1
