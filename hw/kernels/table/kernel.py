"""Table: any function of an integer of few bits, read from memory."""

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import ClassVar

import numpy as np
from qonnx.core.datatype import BaseDataType, DataType

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.host.errors import BitfabricError
from hw.ir.kernel import Memory, Role, Rtl, Schedule, parity_words
from hw.ir.stream import Stream, container, decode, encode
from hw.kernels.shared import cell_costs, pixel
from hw.kernels.shared.channel_kernel import ChannelKernel
from hw.kernels.shared.flipped_bits import known
from hw.kernels.shared.weight_memory import DEEP, SMALL, Tiles, WeightMemory, lookup_latency

LUTS_PER_BLOCK = 100
"""Tables are in block RAM if each block saves at least this many lookup tables."""
MAX_BITS = 10
"""Maximum bits of the input."""


def input_values(dtype: BaseDataType) -> np.ndarray:
    """The integers of an input type in increasing order, int64."""
    if dtype == DataType["BIPOLAR"]:
        return np.array([-1, 1])
    return np.arange(int(dtype.min()), int(dtype.max()) + 1)


@dataclass(frozen=True, eq=False)
class Table(ChannelKernel):
    """``y[..., c] = values[c, i]`` where ``x[..., c]`` is the integer ``i`` of its type, in increasing order.

    Input and output are ``(*prefix, C)``, with ``pe`` channels of ``pixels`` positions per beat. ``pe`` divides C, and
    equals C for more than one position. Raises BitfabricError where parameters are inconsistent.

    Args:
        values: (C, inputs) integers of ``output_dtype``, one for each integer of ``input_dtype``.
        input_dtype: integer type of at most 10 bits.
        output_dtype: integer type.
        prefix: leading axes.
        pe: channels per beat.
        pixels: positions per beat.
        parity: add parity bits to values in block RAM.
    """

    op: ClassVar[str] = "table"
    role: ClassVar[Role] = "quantize"
    sources: ClassVar[tuple[str, ...]] = (
        "bf_stream_out.sv",
        "bf_delay.sv",
        "bf_lookup.sv",
        "bf_parity.sv",
        "bf_rom.sv",
        "bf_weight_memory.sv",
    )

    values: np.ndarray
    input_dtype: BaseDataType
    output_dtype: BaseDataType
    prefix: tuple[int, ...] = ()
    pe: int = 1
    pixels: int = 1
    parity: bool = False

    def __post_init__(self) -> None:
        values = np.asarray(self.values)
        if values.ndim != 2 or not values.size or values.dtype.kind not in "iu":
            raise BitfabricError(f"a table holds integers (channels, inputs), not {values.dtype} {values.shape}")
        self._check((*self.prefix, len(values)), self.output_dtype)
        if not self.input_dtype.is_integer() or self.input_dtype.bitwidth() > MAX_BITS:
            raise BitfabricError(f"a table takes integers of at most {MAX_BITS} bits, not {self.input_dtype.name}")
        if values.shape[1] != len(input_values(self.input_dtype)):
            raise BitfabricError(
                f"a table of {self.input_dtype.name} has {len(input_values(self.input_dtype))} values for each "
                f"channel, not {values.shape[1]}"
            )
        low, high = int(values.min()), int(values.max())
        bipolar = self.output_dtype == DataType["BIPOLAR"]
        if not (self.output_dtype.min() <= low <= high <= self.output_dtype.max()) or (bipolar and 0 in values):
            raise BitfabricError(f"the values {low}..{high} of a table are not all {self.output_dtype.name}")
        object.__setattr__(self, "values", values.astype(np.int64))

    @property
    def channels(self) -> int:
        """C."""
        return len(self.values)

    def _pixel_counts(self) -> tuple[int, ...]:
        return pixel.counts((*self.prefix, self.channels))

    def inputs(self) -> tuple[Stream, ...]:
        return (Stream((*self.prefix, self.channels), self.input_dtype, self.lanes),)

    def outputs(self) -> tuple[Stream, ...]:
        return (Stream((*self.prefix, self.channels), self.output_dtype, self.lanes),)

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = frames
        rows = np.asarray(x).astype(np.int64).reshape(-1, self.channels)
        first, step = input_values(self.input_dtype)[0], 2 if self.input_dtype == DataType["BIPOLAR"] else 1
        table = self.values.astype(container(self.output_dtype))
        return (table[np.arange(self.channels), (rows - first) // step].reshape(np.shape(x)),)

    # ---- hardware

    @cached_property
    def _words(self) -> np.ndarray:
        """The values by code of the input, uint64 (rows, codes): a row for each channel of each position of a beat, or
        one row for all."""
        inputs = known(
            decode(np.arange(1 << self.input_dtype.bitwidth(), dtype=np.uint64), self.input_dtype), self.input_dtype
        )
        places = np.searchsorted(input_values(self.input_dtype), inputs)
        words = encode(self.values, self.output_dtype).astype(np.uint64)[:, places]
        return words[:1] if np.all(words == words[0]) else np.tile(words, (self.pixels, 1))

    @property
    def _groups(self) -> int:
        return max(1, len(self._words) // self.lanes)

    @property
    def _lanes(self) -> int:
        return min(self.lanes, len(self._words))

    @property
    def _depth(self) -> int:
        """Words of the memory of a lane."""
        return self._groups << self.input_dtype.bitwidth()

    @property
    def _lookup_cycles(self) -> int:
        return lookup_latency(self._depth) if self._depth <= DEEP else 3

    def schedule(self) -> Schedule:
        every = np.ones(prod(self.prefix) * self.channels // self.lanes, bool)
        latency = 1 + self._lookup_cycles
        return Schedule((every,), (every,), latency, credits=latency + 1)

    @property
    def _contents(self) -> np.ndarray:
        """The words of the memory of each lane, (lanes, depth)."""
        rows = self._words.reshape(self._groups, self._lanes, -1)
        return rows.transpose(1, 0, 2).reshape(self._lanes, -1)

    def _in_blocks(self, family: Family) -> bool:
        width = self.output_dtype.bitwidth()
        blocks, luts = family.blocks(self._depth, width), cell_costs.rom(self._depth, width, family)
        return self._depth > SMALL and blocks * LUTS_PER_BLOCK < luts

    def has_parity(self, family: Family) -> bool:
        return self.parity and self._in_blocks(family)

    def _tiles(self, family: Family) -> Tiles | None:
        """The tiles of the memories if they are deep and in block RAM; else None."""
        if self._depth <= DEEP or not self._in_blocks(family):
            return None
        return WeightMemory(self._depth, self.output_dtype.bitwidth() + self.parity).tiles(family)

    def _stored(self, family: Family) -> list[tuple[Memory, ...]]:
        """The files of the memory of each lane, including parity bits if it has them."""
        protect, tiles = parity_words if self.has_parity(family) else Memory, self._tiles(family)
        made = [protect(words.tolist(), self.output_dtype.bitwidth()) for words in self._contents]
        return [(memory,) if tiles is None else tiles.cut(memory) for memory in made]

    def rtl(self, family: Family) -> Rtl:
        stored, tiles = self._stored(family), self._tiles(family) or Tiles(1, 1, 1, 1)
        parameters: dict[str, int | str] = {
            "IN_BITS": self.input_dtype.bitwidth(),
            "OUT_BITS": self.output_dtype.bitwidth(),
            "PE": self.lanes,
            "GROUPS": self._groups,
            "LANES": self._lanes,
            "LOOKUP_LATENCY": self._lookup_cycles,
            "STYLE": "block" if self._in_blocks(family) else "logic",
            "FILES": len(stored[0]),
            "ROW": tiles.row,
            "BITS": tiles.bits,
            "LAST_BITS": tiles.last_bits,
            "PARITY": int(self.has_parity(family)),
        }
        return Rtl(f"bf_{self.op}", parameters, {"VALUES": tuple(each for memory in stored for each in memory)})

    def resources(self, family: Family) -> Resources:
        bits, width, cycles = self.input_dtype.bitwidth(), self.output_dtype.bitwidth(), self._lookup_cycles
        total = cell_costs.stream_out(self.lanes * width, cycles + 2, family) + Resources(ff=cycles)
        if self._groups > 1:
            total += cell_costs.counter(self._groups, family)
        copies = self.lanes // self._lanes
        if not self._in_blocks(family):
            used = self._columns * copies
            address = self.lanes * bits + (self._groups - 1).bit_length()
            return total + Resources(cell_costs.rom(self._depth, used, family), used + (cycles - 1) * address)
        for memory in self._stored(family):
            for _ in range(copies):
                total += self._block(memory, family)
        return total

    def blocks_together(self, used: Resources) -> int:
        return -(-used.bram // self.lanes)

    @property
    def _columns(self) -> int:
        """Number of distinct non-constant bit columns of the memories in logic."""
        if self._depth > cell_costs.COLUMNS:
            return self._lanes * self.output_dtype.bitwidth()
        width = self.output_dtype.bitwidth()
        return cell_costs.columns_apart(self._contents.T, width)

    def _block(self, files: tuple[Memory, ...], family: Family) -> Resources:
        """Cost of one memory in block RAM, with its output registers and its parity check."""
        tiles, width = self._tiles(family), self.output_dtype.bitwidth()
        check = cell_costs.parity(width + 1, family) if self.parity else Resources()
        if tiles is None:
            used = cell_costs.varying(files[0].words)
            rows = cell_costs.block_rows(self._depth, used, family)
            return check + Resources(rows, used, family.blocks(self._depth, used))
        used = sum(cell_costs.varying(each.words) for each in files)
        wide = used // tiles.rows
        held = used if tiles.rows > 1 else (self._depth - 1).bit_length()
        blocks = sum(cell_costs.varying(each.words) > 0 for each in files)
        return check + Resources(round(0.7 * wide * (tiles.rows - 1)), wide + held, blocks)
