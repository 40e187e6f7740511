"""Sum of two streams, element by element (FINN: AddStreams)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from qonnx.core.datatype import BaseDataType

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.host.errors import BitfabricError
from hw.ir.kernel import Role, Rtl, Schedule
from hw.ir.stream import Stream, container, smallest_dtype
from hw.kernels.shared import cell_costs, pixel
from hw.kernels.shared.channel_kernel import ChannelKernel, kind
from hw.kernels.shared.parameters import checked_range

WIDEST_COEFFICIENT = 30
"""Maximum bits of a coefficient without the zeros that it ends in."""
WIDEST_INPUT = 60
"""Maximum bits of an input."""
LATENCY = 2


def _factor(coefficient: int) -> tuple[int, int]:
    """A coefficient as a number and a shift, which is 0 where the number has at most WIDEST_COEFFICIENT bits anyway."""
    if abs(coefficient) < 1 << WIDEST_COEFFICIENT - 1:
        return coefficient, 0
    shift = (coefficient & -coefficient).bit_length() - 1
    return coefficient >> shift, shift


def _digits(coefficient: int) -> list[int]:
    """The places of the non-zero digits of the signed-digit form: the bits in which c and 3 c differ, halved."""
    differ = (abs(coefficient) ^ 3 * abs(coefficient)) >> 1
    return [place for place in range(differ.bit_length()) if differ >> place & 1]


@dataclass(frozen=True, eq=False)
class Add(ChannelKernel):
    """``y = ca * a + cb * b`` of two streams ``shape`` (*prefix, C), ``pe`` channels of ``pixels`` positions per beat.

    ``coefficients`` are (ca, cb). The output has the narrowest type that holds every reachable sum. ``input_ranges``:
    minimum and maximum of each input, where narrower than the ranges of ``dtypes``. A product is a sum of shifted
    inputs, with one adder for each non-zero signed digit of the coefficient after the first. Raises BitfabricError for
    types that are not integers or wider than 60 bits, coefficients that are 0 or exceed 30 bits (without the zeros that
    they end in), ranges beyond their types, and a ``pe`` that does not divide C.
    """

    op: ClassVar[str] = "add"
    role: ClassVar[Role] = "join"
    sources: ClassVar[tuple[str, ...]] = (
        "bf_stream_join.sv",
        "bf_stream_out.sv",
        "bf_const_multiply.sv",
        "bf_widen.sv",
    )

    shape: tuple[int, ...]
    dtypes: tuple[BaseDataType, BaseDataType]
    coefficients: tuple[int, int] = (1, 1)
    pe: int = 1
    input_ranges: tuple[tuple[int, int], tuple[int, int]] | None = None
    pixels: int = 1

    def __post_init__(self) -> None:
        self._check(self.shape)
        for dtype in self.dtypes:
            if not dtype.is_integer() or dtype.bitwidth() > WIDEST_INPUT:
                raise BitfabricError(f"add takes integers of at most {WIDEST_INPUT} bits, not {dtype.name}")
        if not all(c and abs(_factor(c)[0]) < 1 << (WIDEST_COEFFICIENT - 1) for c in self.coefficients):
            raise BitfabricError(
                f"add: coefficients {self.coefficients}; each must be an integer of {WIDEST_COEFFICIENT} bits or less, "
                "not 0"
            )
        container(self.output_dtype)

    @property
    def channels(self) -> int:
        return self.shape[-1]

    def _pixel_counts(self) -> tuple[int, ...]:
        return pixel.counts(self.shape)

    def _products(self) -> list[tuple[int, int]]:
        """The range of each product."""
        ranges = self.input_ranges or (None, None)
        found = []
        for dtype, given, c in zip(self.dtypes, ranges, self.coefficients, strict=True):
            low, high = checked_range(self.op, dtype, given)
            found.append((min(c * low, c * high), max(c * low, c * high)))
        return found

    def output_range(self) -> tuple[int, int]:
        """Minimum and maximum sum."""
        (low_a, high_a), (low_b, high_b) = self._products()
        return low_a + low_b, high_a + high_b

    @property
    def output_dtype(self) -> BaseDataType:
        """The type of the sums."""
        return smallest_dtype(*self.output_range())

    def inputs(self) -> tuple[Stream, ...]:
        return tuple(Stream(self.shape, dtype, self.lanes) for dtype in self.dtypes)

    def outputs(self) -> tuple[Stream, ...]:
        return (Stream(self.shape, self.output_dtype, self.lanes),)

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        # Sums in a wider type are exact modulo 2^bits, and the result fits.
        out = container(self.output_dtype)
        a, b = (x.astype(out, copy=False) for x in frames)
        ca, cb = (np.array(c).astype(out) for c in self.coefficients)
        return (a * ca + b * cb,)

    def schedule(self) -> Schedule:
        every = np.ones(1, bool)
        beats = self.outputs()[0].beats
        return Schedule((every, every), (every,), LATENCY, credits=LATENCY + 1, repeats=beats, input_registers=True)

    def resources(self, family: Family) -> Resources:
        bits, digits = self.output_dtype.bitwidth(), [_digits(c) for c in self.coefficients]

        def adder(width: int, place: int) -> int:
            """An adder starts at the digit that it adds; a product that is always 0 has no bit there."""
            return cell_costs.add(max(0, width - place), family)

        # Bits below the lowest digit of a term are 0.
        lut, ff = adder(bits, max(each[0] for each in digits)), 0
        for c, reach, places in zip(self.coefficients, self._products(), digits, strict=True):
            width = smallest_dtype(*reach).bitwidth()
            lut += sum(adder(width, place) for place in places[1:])
            # The term begins with a negation where the lowest digit is -1.
            lut += adder(width, places[0]) * (3 * c >> places[0] + 1 & 1 == 0)
            ff += max(0, width - places[0])
        total = cell_costs.stream_out(self.outputs()[0].width, LATENCY + 1, family) + cell_costs.stream_join(2, family)
        return total + Resources(self.lanes * lut, self.lanes * ff)

    def rtl(self, family: Family) -> Rtl:
        parameters: dict[str, int | str] = {"PE": self.lanes}
        for name, dtype, coefficient in zip("AB", self.dtypes, self.coefficients, strict=True):
            times, shift = _factor(coefficient)
            parameters |= {f"{name}_BITS": dtype.bitwidth(), f"{name}_KIND": kind(dtype), f"{name}_TIMES": times}
            if shift:
                parameters[f"{name}_SHIFT"] = shift
        return Rtl(f"bf_{self.op}", parameters | {"OUT_BITS": self.output_dtype.bitwidth()})
