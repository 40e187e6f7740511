"""Threshold: a monotone function of an integer, computed as a count of thresholds (FINN: Thresholding).

The hardware is a pipelined binary search with one stage for each bit of the count.
"""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from math import prod
from typing import Any, ClassVar, cast

import numpy as np
from qonnx.core.datatype import BaseDataType, DataType

from hw import kernels
from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.host.errors import BitfabricError
from hw.ir.kernel import Kernel, Memory, Role, Rtl, Schedule, packed_words, parity_words
from hw.ir.stream import Stream, container
from hw.kernels.shared import cell_costs, pixel
from hw.kernels.shared.channel_kernel import ChannelKernel
from hw.kernels.shared.weight_memory import DEEP, SMALL, Tiles, WeightMemory, lookup_latency
from hw.native.library import Library, array

CONSTANT = "constant_threshold"
"""The other implementation."""
LUTS_PER_BLOCK = 100
"""Thresholds are in block RAM if each block saves at least this many lookup tables."""
MAX_BITS = 10
"""Maximum bits of the number of thresholds of a channel."""
MAX_INPUT = 60
"""Maximum bits of the input."""
LANES = 512
"""Elements per inner loop of the comparison in ``execute``."""
SEARCH = 256
"""With at least this many thresholds per channel, ``execute`` uses a binary search; with fewer, it compares all."""


_LIBRARY = Library("hw.kernels.threshold", ("compare.cpp",), native=True)


@cache
def _compare(x: str, y: str) -> Callable[..., None]:
    """The compiled function that compares integers of the NumPy type ``x`` and counts in the NumPy type ``y``."""
    size = ctypes.c_int64
    types = (array(x), size, array(x, 2), array(y), array(y), size, size, array(y))
    return _LIBRARY.function(f"compare_{x}_{y}", *types)


@dataclass(frozen=True)
class _Table:
    """The thresholds of the binary search as unsigned words.

    Attributes:
        words: (rows, 2**bits - 1), sorted; one row for each channel of each position of a beat, or one row for all.
        width: bits of a word.
        strict: an input reaches a threshold if ``code > word``, else if ``code >= word``; ``code`` is the input in
            offset binary.
        invert: (rows,) whether the count is complemented.
    """

    words: np.ndarray
    width: int
    strict: bool
    invert: np.ndarray


@dataclass(frozen=True, eq=False)
class Threshold(ChannelKernel):
    """``y[..., c] = output_min + sum_i(x[..., c] >= thresholds[c, i])``; see ``decreasing``.

    Input and output are ``(*prefix, C)``, with ``pe`` channels of ``pixels`` positions per beat. ``pe`` divides C, and
    equals C for more than one position. Raises BitfabricError where parameters are inconsistent.

    Args:
        thresholds: (C, steps) integers, non-decreasing along each row, from the minimum input (always reached) to the
            maximum input + 1 (never reached).
        decreasing: (C,) bool; the output of such a channel is ``output_min + steps`` minus the count.
        input_dtype: integer type of at most 60 bits.
        output_dtype: integer type; for BIPOLAR there is one threshold, from -1 to +1.
        prefix: leading axes.
        pe: channels per beat.
        output_min: output for a count of 0; by default the minimum of ``output_dtype``, which ``steps`` must then span.
        pixels: positions per beat.
        parity: add parity bits to thresholds in block RAM.
    """

    op: ClassVar[str] = "threshold"
    role: ClassVar[Role] = "quantize"
    sources: ClassVar[tuple[str, ...]] = (
        "bf_stream_out.sv",
        "bf_delay.sv",
        "bf_lookup.sv",
        "bf_parity.sv",
        "bf_rom.sv",
        "bf_threshold_stage.sv",
        "bf_weight_memory.sv",
    )

    thresholds: np.ndarray
    decreasing: np.ndarray
    input_dtype: BaseDataType
    output_dtype: BaseDataType
    prefix: tuple[int, ...] = ()
    pe: int = 1
    output_min: int | None = None
    pixels: int = 1
    parity: bool = False

    def __post_init__(self) -> None:
        thresholds, decreasing = np.asarray(self.thresholds), np.asarray(self.decreasing)
        if thresholds.ndim != 2 or not thresholds.size or thresholds.dtype.kind not in "iu":
            raise BitfabricError(
                f"thresholds must be integers (channels, steps), not {thresholds.dtype} {thresholds.shape}"
            )
        if decreasing.shape != thresholds.shape[:1] or decreasing.dtype != bool:
            raise BitfabricError(f"decreasing must be {len(thresholds)} booleans, one for each row of thresholds")
        channels, steps = thresholds.shape
        self._check((*self.prefix, channels))
        if steps.bit_length() > MAX_BITS:
            raise BitfabricError(f"{steps} thresholds per channel; at most {2**MAX_BITS - 1}, use a requant above that")
        low, high = int(self.output_dtype.min()), int(self.output_dtype.max())
        least = low if self.output_min is None else int(self.output_min)
        most = least + steps * self._unit
        fits = low <= least and (most == high if self.output_min is None else most <= high)
        if not self.output_dtype.is_integer() or not fits:
            raise BitfabricError(
                f"{steps} thresholds count from {least} to {most}, {self.output_dtype.name} goes from {low} to {high}"
            )
        if not self.input_dtype.is_integer() or self.input_dtype.bitwidth() > MAX_INPUT:
            raise BitfabricError(
                f"thresholds compare integers of at most {MAX_INPUT} bits, not {self.input_dtype.name}"
            )
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

    def _pixel_counts(self) -> tuple[int, ...]:
        return pixel.counts((*self.prefix, self.channels))

    def implementations(self) -> tuple[Kernel, ...]:
        constant = cast(Any, kernels.get(CONSTANT)).of(self)
        return (self,) if constant is None else (self, constant)

    def inputs(self) -> tuple[Stream, ...]:
        return (Stream((*self.prefix, self.channels), self.input_dtype, self.lanes),)

    def outputs(self) -> tuple[Stream, ...]:
        return (Stream((*self.prefix, self.channels), self.output_dtype, self.lanes),)

    @cached_property
    def _comparison(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``(bounds, start, step)``: ``execute`` computes ``start`` plus one ``step`` for each bound less than x.

        ``bounds`` (C, steps) are sorted and of the input's NumPy type; ``start`` and ``step`` (C,) of the output's.
        """
        least, most = int(self.input_dtype.min()), int(self.input_dtype.max())
        always = self.thresholds == least
        bounds = np.sort(np.where(always, most, self.thresholds - 1), axis=1).astype(container(self.input_dtype))
        step = np.where(self.decreasing, -self._unit, self._unit)
        start = self._least + self.decreasing * self.steps * self._unit + step * always.sum(axis=1)
        dtype = container(self.output_dtype)
        return bounds, start.astype(dtype), step.astype(dtype)

    @cached_property
    def _tiled(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``_comparison`` repeated for several positions, with bounds transposed to (steps, channels): the inner loops
        are then long enough to be vectorised."""
        together = max(1, LANES // self.channels)
        bounds, start, step = self._comparison
        return np.tile(np.ascontiguousarray(bounds.T), together), np.tile(start, together), np.tile(step, together)

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = frames
        values = np.ascontiguousarray(x, container(self.input_dtype)).ravel()
        y = np.empty(values.shape, container(self.output_dtype))
        if self.steps < SEARCH and y.itemsize <= 2:
            bounds, start, step = self._tiled
            counts = y.view(f"u{y.itemsize}")
            start, step = start.view(counts.dtype), step.view(counts.dtype)
            _compare(values.dtype.name, counts.dtype.name)(
                values, len(values), bounds, start, step, *bounds.shape, counts
            )
        else:
            bounds, start, step = self._comparison
            for c in range(self.channels):
                count = np.searchsorted(bounds[c], values[c :: self.channels], "left")
                y[c :: self.channels] = start[c] + step[c] * count
        return (y.reshape(x.shape),)

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
        if dtype == DataType["BIPOLAR"]:  # x >= T of -1 and +1 as code >= ceil((T + 1) / 2) of 0 and 1
            words = (words + 2) // 2
        elif dtype.signed():
            words = words + (1 << (bits - 1))
        # Rows are padded to 2**bits - 1 thresholds that are never reached, or always reached where the count is
        # complemented: then the complement of all bits of the count is steps - count.
        pad = (1 << self.code_bits) - 1 - self.steps
        decreasing = self.decreasing[:, None]
        always, words, never = np.repeat(words[:, :1], pad, 1), words[:, 1:-1], np.repeat(words[:, -1:], pad, 1)
        words = np.where(decreasing, np.hstack((always, words)), np.hstack((words, never)))
        invert = self.decreasing
        if np.all(words == words[0]) and np.all(invert == invert[0]):
            words, invert = words[:1], invert[:1]
        else:
            words, invert = np.tile(words, (self.pixels, 1)), np.tile(invert, self.pixels)
        if words.max() < 1 << bits:
            return _Table(words, bits, False, invert)
        if words.min() > 0:
            return _Table(words - 1, bits, True, invert)
        return _Table(words, bits + 1, False, invert)

    @cached_property
    def _flags(self) -> np.ndarray:
        """Whether counts are complemented, (words, lanes): no words if none is, one word if all are."""
        invert, groups = self._table.invert, self._groups
        words = 0 if not invert.any() else 1 if invert.all() else groups
        return np.broadcast_to(invert.reshape(groups, -1), (groups, self.lanes))[:words]

    @property
    def _groups(self) -> int:
        return max(1, len(self._table.words) // self.lanes)

    @property
    def _lanes(self) -> int:
        return min(self.lanes, len(self._table.words))

    def _lookup_cycles(self, stage: int) -> int:
        depth = self._groups << stage
        return lookup_latency(depth) if depth <= DEEP else 3

    def schedule(self) -> Schedule:
        every, beats = np.ones(1, bool), prod(self.prefix) * self.channels // self.lanes
        latency = 1 + sum(self._lookup_cycles(stage) + 1 for stage in range(self.code_bits))
        return Schedule((every,), (every,), latency, credits=latency + 1, repeats=beats)

    def _memories(self, stage: int) -> tuple[int, int, int]:
        """Number of memories of a stage, and their words and bits."""
        if stage == 0:
            return 1, self._groups, self.lanes * self._table.width
        return self.lanes, self._groups << stage, self._table.width

    def _search(self, stage: int) -> np.ndarray:
        """The thresholds that a stage compares, (groups, lanes, values of the higher bits of the count)."""
        step = 1 << (self.code_bits - stage)
        return self._table.words[:, step // 2 - 1 :: step].reshape(self._groups, self._lanes, -1)

    def _contents(self, stage: int) -> list[list[int]]:
        """The words of each memory of a stage."""
        if stage == 0:
            return [packed_words(self._search(0)[:, :, 0], self._table.width)]
        lanes = self._search(stage).transpose(1, 0, 2).reshape(self._lanes, -1).tolist()
        return lanes * (self.lanes // self._lanes)

    def _columns(self, stage: int) -> int:
        """Number of distinct non-constant bit columns of a stage's memories in logic."""
        count, depth, width = self._memories(stage)
        if depth > cell_costs.COLUMNS:
            return count * width
        words = self._search(stage)
        if stage == 0:
            return cell_costs.columns(words[:, :, 0], self._table.width)
        lanes = words.transpose(0, 2, 1).reshape(depth, -1)
        return cell_costs.columns_apart(lanes, self._table.width) * self.lanes // self._lanes

    def _in_blocks(self, stage: int, family: Family) -> bool:
        _, depth, width = self._memories(stage)
        return depth > SMALL and family.blocks(depth, width) * LUTS_PER_BLOCK < cell_costs.rom(depth, width, family)

    def has_parity(self, family: Family) -> bool:
        return self.parity and any(self._in_blocks(stage, family) for stage in range(self.code_bits))

    def _tiles(self, stage: int, family: Family) -> Tiles | None:
        """The tiles of the memories of a stage that are deep and in block RAM; else None."""
        _, depth, width = self._memories(stage)
        if depth <= DEEP or not self._in_blocks(stage, family):
            return None
        return WeightMemory(depth, width + self.parity).tiles(family)

    def _stored(self, stage: int, family: Family) -> list[tuple[Memory, ...]]:
        """The files of each memory of a stage, including parity bits if it has them."""
        width = (self._lanes if stage == 0 else 1) * self._table.width
        protect = parity_words if self.parity and self._in_blocks(stage, family) else Memory
        made, tiles = [protect(words, width) for words in self._contents(stage)], self._tiles(stage, family)
        return [(memory,) if tiles is None else tiles.cut(memory) for memory in made]

    def rtl(self, family: Family) -> Rtl:
        table, bits, pe, groups = self._table, self.code_bits, self.lanes, self._groups
        stored = [self._stored(stage, family)[: self._lanes] for stage in range(bits)]
        files = [len(memories[0]) for memories in stored]
        first = np.cumsum([0, *(len(memories) * count for memories, count in zip(stored, files, strict=True))])
        tiles = [self._tiles(stage, family) or Tiles(1, 1, 1, 1) for stage in range(bits)]
        bounds = tuple(each for memories in stored for memory in memories for each in memory)
        memories: dict[str, Memory | tuple[Memory, ...]] = {"BOUNDS": bounds}
        if self._flags.size:
            memories["INVERTS"] = Memory(packed_words(self._flags, 1), pe)
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
            "LOOKUP_LATENCY": tuple(self._lookup_cycles(stage) for stage in range(bits)),
            "LATENCY": self.schedule().latency,
            "INVERT_LATENCY": lookup_latency(len(self._flags)),
            "BLOCK": sum(1 << stage for stage in range(bits) if self._in_blocks(stage, family)),
            "FIRST": tuple(first[:-1].tolist()),
            "FILES": tuple(files),
            "ROW": tuple(cut.row for cut in tiles),
            "BITS": tuple(cut.bits for cut in tiles),
            "LAST_BITS": tuple(cut.last_bits for cut in tiles),
            "INVERT": len(self._flags),
            "PARITY": int(self.has_parity(family)),
        }
        return Rtl(f"bf_{self.op}", parameters, memories)

    def _varying(self, stage: int, row: int) -> np.ndarray:
        """Whether the words of each ``row`` successive words of a stage's distinct memories differ in a bit, with that
        of their parity: (memories, rows, bits). Synthesis removes the bits in which they do not."""
        words, bits = self._search(stage), np.arange(self._table.width)
        lanes = words.transpose(1, 0, 2).reshape(self._lanes, -1)
        starts = range(0, lanes.shape[1], row)
        masks = [
            np.bitwise_or.reduce(each ^ each[:, :1], axis=1) for at in starts for each in [lanes[:, at : at + row]]
        ]
        found = (np.stack(masks, axis=1)[:, :, None] >> bits & 1).astype(np.bool_)
        odd = np.bitwise_count(lanes) & 1
        if stage == 0:  # one memory, whose words hold all lanes
            found, odd = found.transpose(1, 0, 2).reshape(1, len(starts), -1), np.bitwise_xor.reduce(odd, keepdims=True)
        if not self.parity:
            return found
        apart = [np.ptp(odd[:, at : at + row], axis=1) > 0 for at in starts]
        return np.concatenate((found, np.stack(apart, axis=1)[:, :, None]), axis=2)

    def _blocks(self, stage: int, family: Family) -> Resources:
        """Cost of a stage's memories in block RAM, with their output registers and their parity checks."""
        (_, depth, width), tiles = self._memories(stage), self._tiles(stage, family)
        check = cell_costs.parity(width + 1, family) if self.parity else Resources()
        total = Resources()
        for bits in self._varying(stage, depth if tiles is None else tiles.row):
            used = int(bits.sum())
            if tiles is None:
                made = Resources(cell_costs.block_rows(depth, used, family), used, family.blocks(depth, used))
            else:
                held = used if tiles.rows > 1 else (depth - 1).bit_length()
                wide = used // tiles.rows
                sizes = [tiles.bits] * (tiles.rows - 1) + [tiles.last_bits]
                full = sum(
                    int(np.count_nonzero(np.add.reduceat(row, range(0, len(row), size), dtype=np.int64)))
                    for row, size in zip(bits, sizes, strict=True)
                )
                made = Resources(round(0.7 * wide * (tiles.rows - 1)), wide + held, full)
            total += check + made
        copies = 1 if stage == 0 else self.lanes // self._lanes
        return sum([total] * copies, Resources())

    def resources(self, family: Family) -> Resources:
        table, pe, groups, latency = self._table, self.lanes, self._groups, self.schedule().latency
        bits = self.input_dtype.bitwidth()
        six = family.lut_inputs >= 6
        total = cell_costs.stream_out(pe * self.output_dtype.bitwidth(), latency + 1, family)
        if groups > 1:
            total += cell_costs.counter(groups, family)
        lut, ff, bram = 0.0, latency - 1, 0
        for stage in range(self.code_bits):
            count, depth, width = self._memories(stage)
            cycles = self._lookup_cycles(stage)
            if cycles == 0:
                lut += pe * table.width / (4.5 if six else 2.8)
            else:
                compared = cell_costs.compare(table.width, family)
                lut += pe * compared
                if self._in_blocks(stage, family):
                    made = self._blocks(stage, family)
                    lut, ff, bram = lut + made.lut, ff + made.ff, bram + made.bram
                else:
                    width = self._columns(stage)
                    lut += cell_costs.rom(depth, width, family)
                    if not family.chain_inverts:  # equal bit columns of thresholds share inverters
                        lut += min(0, width - pe * compared)
                    ff += width + (cycles - 1) * count * (depth - 1).bit_length()
            delayed = pe * (bits + stage) + (groups - 1).bit_length()
            if six and cycles >= 2 and stage > 0:
                lut += delayed  # shift registers
            else:
                ff += (cycles + 1) * delayed
        ff += pe * (self.code_bits - bits)
        if self._least and self._unit == 1:
            lut += pe * self.code_bits
        if table.invert.any() and not table.invert.all():
            lut += pe * self.code_bits + cell_costs.rom(groups, pe, family)
            ff += pe
        return total + Resources(round(lut), ff, bram)
