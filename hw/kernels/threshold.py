"""Threshold: any monotone function of an integer to a few bits, as a count of thresholds (FINN: Thresholding)."""

from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import ClassVar, Self

import numpy as np
from qonnx.core.datatype import BaseDataType, DataType

from hw.errors import BitfabricError
from hw.kernels.kernel import Folding, Kernel, Memory, Resources, Rtl, Schedule, packed_words
from hw.stream import Stream, container
from hw.synth.family import Family

SMALL = 64
"""Thresholds of a stage that always stay in lookup tables, with a cycle less (as in threshold.sv)."""
LUTS_PER_BLOCK = 200
"""Lookup tables that a block RAM is worth: what devices have of both."""
MAX_BITS = 10
CHUNK = 1 << 15
"""Elements that ``execute`` works on at a time: they stay in the cache."""


@dataclass(frozen=True)
class _Table:
    """The thresholds of a binary search as unsigned words: ``words`` (channels, 2**bits - 1).

    A threshold is reached by ``code > word`` if ``strict``, else by ``code >= word``, where ``code`` is the
    input in offset binary. ``invert`` (channels,) says whose count is complemented.
    """

    words: np.ndarray
    width: int
    strict: bool
    invert: np.ndarray


@dataclass(frozen=True, eq=False)
class Threshold(Kernel):
    """``y[..., c] = output_min + sum_i(x[..., c] >= thresholds[c, i])``; see ``decreasing``.

    ``thresholds`` (C, steps): non-decreasing along each row, from the least input (always reached) to the
    greatest + 1 (never). A channel with ``decreasing`` (C,) gives ``output_min + steps`` minus that count.
    ``output_min`` (default: of ``output_dtype``) allows narrow ranges. BIPOLAR outputs: one step from -1 to +1.
    Input ``(*prefix, C)``, output ``(*prefix, C)``, both in ``pe`` lanes; ``pe`` divides C.
    Raises BitfabricError where parameters do not fit each other.
    """

    op: ClassVar[str] = "threshold"
    sources: ClassVar[tuple[str, ...]] = (
        "parts/stream_out.sv",
        "parts/delay.sv",
        "parts/lookup.sv",
        "parts/rom.sv",
        "parts/threshold_stage.sv",
    )

    thresholds: np.ndarray
    decreasing: np.ndarray
    input_dtype: BaseDataType
    output_dtype: BaseDataType
    prefix: tuple[int, ...] = ()
    pe: int = 1
    output_min: int | None = None

    def __post_init__(self) -> None:
        thresholds, decreasing = np.asarray(self.thresholds), np.asarray(self.decreasing)
        if thresholds.ndim != 2 or not thresholds.size or thresholds.dtype.kind not in "iu":
            raise BitfabricError(
                f"thresholds must be integers (channels, steps), not {thresholds.dtype} {thresholds.shape}"
            )
        if decreasing.shape != thresholds.shape[:1] or decreasing.dtype != bool:
            raise BitfabricError(f"decreasing must be {len(thresholds)} booleans, one for each row of thresholds")
        channels, steps = thresholds.shape
        if self.pe < 1 or channels % self.pe:
            raise BitfabricError(f"PE {self.pe} does not divide the {channels} channels of a threshold layer")
        if steps.bit_length() > MAX_BITS:
            raise BitfabricError(f"{steps} thresholds per channel; at most {2**MAX_BITS - 1}, use a requant above that")
        low, high = int(self.output_dtype.min()), int(self.output_dtype.max())
        least = low if self.output_min is None else int(self.output_min)
        most = least + steps * self._unit
        if (
            not self.output_dtype.is_integer()
            or least < low
            or most > high
            or (self.output_min is None and most < high)
        ):
            raise BitfabricError(
                f"{steps} thresholds count from {least} to {most}, but {self.output_dtype.name} goes from {low} to {high}"
            )
        if not self.input_dtype.is_integer():
            raise BitfabricError(f"thresholds compare integers, not {self.input_dtype.name}")
        least, most = int(self.input_dtype.min()), int(self.input_dtype.max()) + 1
        if thresholds.min() < least or thresholds.max() > most:
            raise BitfabricError(f"thresholds on {self.input_dtype.name} must lie in {least}..{most}; clip them")
        if np.any(np.diff(thresholds, axis=1) < 0):
            raise BitfabricError("the thresholds of each channel must be sorted")
        object.__setattr__(self, "thresholds", thresholds.astype(np.int64))
        object.__setattr__(self, "decreasing", decreasing)

    @property
    def channels(self) -> int:
        """C."""
        return self.thresholds.shape[0]

    @property
    def steps(self) -> int:
        """Thresholds of a channel."""
        return self.thresholds.shape[1]

    @property
    def _unit(self) -> int:
        return 2 if self.output_dtype == DataType["BIPOLAR"] else 1

    @property
    def _least(self) -> int:
        return int(self.output_dtype.min()) if self.output_min is None else int(self.output_min)

    def inputs(self) -> tuple[Stream, ...]:
        return (Stream((*self.prefix, self.channels), self.input_dtype, self.pe),)

    def outputs(self) -> tuple[Stream, ...]:
        return (Stream((*self.prefix, self.channels), self.output_dtype, self.pe),)

    def foldings(self) -> tuple[Folding, ...]:
        return tuple(Folding(pe=n) for n in range(1, self.channels + 1) if self.channels % n == 0)

    def fold(self, folding: Folding) -> Self:
        if folding.simd != 1:
            raise BitfabricError(f"a threshold layer has no SIMD to fold; {folding.simd} asked for")
        return replace(self, pe=folding.pe)

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = frames
        rows = np.ascontiguousarray(x).reshape(-1, self.channels)
        count = np.empty(rows.shape, np.uint8 if self.steps < 256 else np.uint16)
        strict, bounds = self._bounds(rows.dtype)
        reached = np.greater if strict else np.greater_equal
        if self.steps > 48:
            side = "left" if strict else "right"
            for c in range(self.channels):
                count[:, c] = np.searchsorted(bounds[c], rows[:, c], side)
        else:
            columns = np.ascontiguousarray(bounds.T)
            size = max(1, CHUNK // self.channels)
            flags = np.empty((min(size, len(rows)), self.channels), bool)
            for start in range(0, len(rows), size):
                part, total = rows[start : start + size], count[start : start + size]
                flag = flags[: len(part)]
                reached(part, columns[0], out=total.view(bool) if total.dtype == np.uint8 else flag)
                if total.dtype != np.uint8:
                    total[:] = flag
                for column in columns[1:]:
                    reached(part, column, out=flag)
                    np.add(total, flag, out=total)
        if self.decreasing.any():
            np.subtract(count.dtype.type(self.steps), count, out=count, where=self.decreasing)
        y = count.astype(container(self.output_dtype))
        if self._unit != 1:
            y *= y.dtype.type(self._unit)
        if self._least:
            y += y.dtype.type(self._least)
        return (y.reshape(x.shape),)

    def _bounds(self, dtype: np.dtype) -> tuple[bool, np.ndarray]:
        """Thresholds in ``dtype`` if they fit (as ``x > T - 1`` if need be), so that comparing converts nothing."""
        info = np.iinfo(dtype)
        if self.thresholds.max() <= info.max and self.thresholds.min() >= info.min:
            return False, self.thresholds.astype(dtype)
        if self.thresholds.min() > info.min and self.thresholds.max() - 1 <= info.max:
            return True, (self.thresholds - 1).astype(dtype)
        return False, self.thresholds

    # ---- hardware

    @property
    def code_bits(self) -> int:
        """Bits of the count of thresholds: stages of the binary search."""
        return self.steps.bit_length()

    @cached_property
    def _table(self) -> _Table:
        dtype, bits = self.input_dtype, self.input_dtype.bitwidth()
        words = np.pad(self.thresholds, ((0, 0), (1, 1)))
        words[:, 0], words[:, -1] = int(dtype.min()), int(dtype.max()) + 1
        if dtype == DataType["BIPOLAR"]:
            words = (words + 2) // 2  # x >= T of -1 and +1 as code >= ceil((T + 1) / 2) of 0 and 1
        else:
            words = words + (1 << (bits - 1) if dtype.signed() else 0)
        # Counts are padded to a power of two: with thresholds never reached, or, where the count is
        # complemented, always reached, so that complementing all bits of the code gives steps - count.
        pad = (1 << self.code_bits) - 1 - self.steps
        decreasing = self.decreasing[:, None]
        always, words, never = np.repeat(words[:, :1], pad, 1), words[:, 1:-1], np.repeat(words[:, -1:], pad, 1)
        words = np.where(decreasing, np.hstack((always, words)), np.hstack((words, never)))
        invert = self.decreasing
        if np.all(words == words[0]) and np.all(invert == invert[0]):
            words, invert = words[:1], invert[:1]
        if words.max() < 1 << bits:
            return _Table(words, bits, False, invert)
        if words.min() > 0:
            return _Table(words - 1, bits, True, invert)
        return _Table(words, bits + 1, False, invert)

    @property
    def _groups(self) -> int:
        return max(1, len(self._table.words) // self.pe)

    @property
    def _lanes(self) -> int:
        return min(self.pe, len(self._table.words))

    def _rom_cycles(self, stage: int) -> int:
        depth = self._groups << stage
        return 0 if depth == 1 else 1 if depth <= SMALL else 2

    def schedule(self) -> Schedule:
        every = np.ones(prod(self.prefix) * self.channels // self.pe, bool)
        latency = 1 + sum(self._rom_cycles(stage) + 1 for stage in range(self.code_bits))
        return Schedule((every,), (every,), latency, credits=latency + 1)

    def _memories(self, stage: int) -> tuple[int, int, int]:
        """How many memories a stage has, and their words and bits."""
        if stage == 0:
            return 1, self._groups, self.pe * self._table.width
        return self.pe, self._groups << stage, self._table.width

    def _in_blocks(self, stage: int, family: Family) -> bool:
        _, depth, width = self._memories(stage)
        return depth > SMALL and family.blocks(depth, width) * LUTS_PER_BLOCK < width * _rom_luts(depth, family)

    def rtl(self, family: Family) -> Rtl:
        table, bits, pe, groups = self._table, self.code_bits, self.pe, self._groups
        search = [table.words[:, (1 << (bits - s - 1)) - 1 :: 1 << (bits - s)] for s in range(bits)]
        first = search[0].reshape(groups, self._lanes)
        bounds = [Memory(packed_words(first, table.width), self._lanes * table.width)]
        for words in search[1:]:
            lanes = words.reshape(groups, self._lanes, -1).transpose(1, 0, 2).reshape(self._lanes, -1)
            bounds += [Memory(lane.tolist(), table.width) for lane in lanes]
        memories: dict[str, Memory | tuple[Memory, ...]] = {"BOUNDS": tuple(bounds)}
        inverts = 0
        if table.invert.any():
            inverts = 1 if table.invert.all() else groups
            flags = np.broadcast_to(table.invert.reshape(groups, -1), (groups, pe))[:inverts]
            memories["INVERTS"] = Memory(packed_words(flags, 1), pe)
        parameters = {
            "IN_BITS": self.input_dtype.bitwidth(),
            "SIGNED": int(self.input_dtype.signed() and self.input_dtype != DataType["BIPOLAR"]),
            "OUT_BITS": self.output_dtype.bitwidth(),
            "OUT_MIN": 0 if self._unit != 1 else self._least,
            "CODE_BITS": bits,
            "PE": pe,
            "GROUPS": groups,
            "LANES": self._lanes,
            "WORD": table.width,
            "STRICT": int(table.strict),
            "BLOCK": sum(1 << stage for stage in range(bits) if self._in_blocks(stage, family)),
            "INVERT": inverts,
        }
        return Rtl(self.op, parameters, memories)

    def resources(self, family: Family) -> Resources:
        return Resources()
