"""What lowering knows of a tensor: the host's so far, or an edge's integers and the steps from them to its values."""

from dataclasses import dataclass, replace

import numpy as np
from qonnx.core.datatype import BaseDataType, DataType

from hw.errors import BitfabricError
from hw.host import HostStep
from hw.operators import QUANTIZERS, code_range
from hw.stream import smallest_dtype

Steps = tuple[HostStep, ...]


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
    """A wire without steps, with the same bounds (default: the type's) everywhere."""
    least = np.full(shape, int(dtype.min()) if low is None else low, np.int64)
    most = np.full(shape, int(dtype.max()) if high is None else high, np.int64)
    return Wire(edge, shape, dtype, least, most)


def dtype_of(low: int, high: int, binary: bool = False) -> BaseDataType:
    """The narrowest type of a range: BIPOLAR if ``binary``, TERNARY for -1..1."""
    if binary:
        return DataType["BIPOLAR"]
    return DataType["TERNARY"] if (low, high) == (-1, 1) else smallest_dtype(low, high)


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
            return code_range(attributes["bits"], attributes["signed"], attributes["narrow"])  # type: ignore[arg-type]
        case "MultiThreshold":
            least: int = attributes["least"]  # type: ignore[assignment]
            return least, least + quantizer.operands[0].shape[1] * attributes["unit"]  # type: ignore[operator]
        case "Trunc":
            clip = attributes["clip"]
            if clip is None:
                raise BitfabricError(
                    f"{origin}: Trunc cannot be the input's quantizer: it bounds nothing; put a Quant there"
                )
            return clip  # type: ignore[return-value]
        case _:
            return -1, 1
