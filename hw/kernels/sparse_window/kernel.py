"""Sliding window of which only some elements are needed: column sparsity of a convolution (group-wise brain damage,
Lebedev & Lempitsky, "Fast ConvNets Using Group-wise Brain Damage", CVPR 2016).

An element of a window that no filter uses is not sent. Every lane has a memory of its channels, which is read at an
offset of its own; lanes whose offsets are always the same share one memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.host.errors import BitfabricError
from hw.ir.buffer import Buffer, Loop
from hw.ir.buffer_size import fitted
from hw.ir.kernel import Folding, Rtl
from hw.ir.stream import Stream, encode
from hw.kernels.shared.parameters import divisors
from hw.kernels.sliding_window.kernel import BIPOLAR, BUFFER_BITS, SlidingWindow
from hw.kernels.sparse_window import cost


@dataclass(frozen=True, eq=False)
class SparseWindow(SlidingWindow):
    """The elements ``picks`` of each window of a ``sliding_window``, in this order. An element may occur repeatedly.

    ``picks`` (n,): numbers of elements in the order (ky, kx, c). ``simd`` is a common divisor of C and n such that
    element i of the output is of a channel that is congruent to i modulo ``simd``. ``pixels`` is 1, and ``pad_value``
    one integer.

    Raises BitfabricError as ``sliding_window`` does, and for picks that are not elements of a window.
    """

    op: ClassVar[str] = "sparse_window"
    sources: ClassVar[tuple[str, ...]] = (
        "bf_delay.sv", "bf_modulo_counter.sv", "bf_stream_out.sv", "bf_window_axis.sv", "bf_window_walk.sv",
    )  # fmt: skip

    picks: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        picks = np.asarray(self.picks)
        object.__setattr__(self, "picks", picks)
        if picks.ndim != 1 or not picks.size or picks.dtype.kind not in "iu":
            raise BitfabricError(f"{self.op}: picks of shape {picks.shape}; it needs a list of one or more integers")
        super().__post_init__()
        if picks.min() < 0 or picks.max() >= self.window:
            raise BitfabricError(f"{self.op}: picks {picks.min()}..{picks.max()} of a window of {self.window} elements")
        if len(self.pad_values) > 1:
            raise BitfabricError(f"{self.op}: padding that differs between channels; use sliding_window")

    def outputs(self) -> tuple[Stream, ...]:
        return (Stream((*self.out_spatial, len(self.picks)), self.out_dtype, self.simd),)

    def _lanes(self) -> list[int]:
        apart = self.picks - np.arange(len(self.picks))
        return [d for d in divisors(int(np.gcd(self.channels, len(self.picks)))) if not (apart % d).any()]

    def _pixel_counts(self) -> list[int]:
        return []

    def foldings(self) -> tuple[Folding, ...]:
        return tuple(Folding(1, simd) for simd in self._lanes())

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        (windows,) = super().execute(*frames)
        return (np.ascontiguousarray(windows[..., self.picks]),)

    # From here on a signal is an image of one row.

    @property
    def beats(self) -> int:
        """Beats of a window."""
        return len(self.picks) // self.simd

    @cached_property
    def items(self) -> np.ndarray:
        """Offset in words, kernel row and kernel column of each lane in each beat of a window, (beats, simd, 3)."""
        plane, words = self._plane, self.channel_words
        position, channel = np.divmod(self.picks.reshape(-1, self.simd), self.channels)
        y, x = np.divmod(position, plane.kernel[1])
        pixel = y * plane.dilation[0] * plane.image[1] + x * plane.dilation[1]
        return np.stack([pixel * words + channel // self.simd, y, x], axis=-1)

    @property
    def shared(self) -> bool:
        """Whether all lanes have the same offset in every beat."""
        return bool((self.items == self.items[:, :1]).all())

    def _buffers(self) -> Iterator[Buffer]:
        """Three candidate buffers, as those of ``sliding_window``; a beat may read all of its window."""
        words, plane, offsets = self.channel_words, self._plane, self.items[..., 0]
        pitch = (plane.image[1] * words, words)
        line, window = (p * s for p, s in zip(pitch, plane.stride, strict=True))
        first = -sum(p * b for p, b in zip(pitch, plane.before, strict=True)) + int(offsets.min())
        for frees in ((line, window), (line, 0), (0, 0)):
            yield Buffer(
                beats=self.inputs()[0].beats,
                places=1,
                start=first,
                reach=int(offsets.max() - offsets.min()) + 1,
                loops=(
                    Loop(plane.windows[0], line, frees[0]),
                    Loop(plane.windows[1], window, frees[1]),
                    Loop(self.beats, 0, 0),
                ),
                release=3,
            )

    @cached_property
    def buffer(self) -> Buffer:
        return fitted(next(b for b in self._buffers() if b.monotone()))

    @property
    def memories(self) -> int:
        """Memories: one for each lane, or one that all share."""
        return 1 if self.shared else self.simd

    @property
    def block(self) -> bool:
        width = self.word // self.memories
        return self.buffer.places >= 64 and self.buffer.places * width > BUFFER_BITS

    @property
    def fetch(self) -> int:
        return 3 + self.block

    @property
    def item_bits(self) -> tuple[int, int, int]:
        """Bits of an offset, of a kernel row and of a kernel column in the table of places."""
        row, column = ((size - 1).bit_length() if self.padded else 0 for size in self._plane.kernel)
        return max(1, (self.buffer.reach - 1).bit_length()), row, column

    @property
    def table(self) -> np.ndarray:
        """The table of places, (beats, memories): an offset from the first, above it column and row."""
        offset, _, column = self.item_bits
        items = self.items[:, : self.memories]
        places = items[..., 0] - self.items[..., 0].min()
        return np.asarray(places | (items[..., 2] | items[..., 1] << column) << offset if self.padded else places)

    def resources(self, family: Family) -> Resources:
        return cost.resources(self, family)

    def rtl(self, family: Family) -> Rtl:
        plane, width = self._plane, sum(self.item_bits)
        bits = (self.table.ravel()[:, None] >> np.arange(width)) & 1
        padded = np.pad(bits.ravel().astype(np.uint8), (0, -bits.size % 32))
        words = np.packbits(padded, bitorder="little").view("<u4").tolist()
        parameters: dict[str, int | str | tuple[int, ...]] = {
            "BITS": self.dtype.bitwidth(),
            "LANES": self.simd,
            "CF": self.channel_words,
        }
        pairs = (
            (("H", "W"), plane.image), (("OH", "OW"), plane.windows), (("SY", "SX"), plane.stride),
            (("TOP", "LEFT"), plane.before), (("ROWS", "COLUMNS"), plane.kernel),
        )  # fmt: skip
        for names, values in pairs:
            parameters |= dict(zip(names, values, strict=True))
        parameters |= {
            "ROW": tuple(y * plane.dilation[0] for y in range(plane.kernel[0])),
            "COLUMN": tuple(x * plane.dilation[1] for x in range(plane.kernel[1])),
            "BEATS": self.beats,
            "SHARED": int(self.shared),
            "START": self.buffer.start,
            "REACH": self.buffer.reach,
            "WORDS_32": len(words),
            "PLACE": tuple(words),
            "PADDED": int(self.padded),
            "TERNARY": int(self.dtype == BIPOLAR and self.out_dtype != BIPOLAR),
            "OUT_BITS": self.out_dtype.bitwidth(),
            "SIGNED": int(self.dtype.signed()),
            "PADDING": int(encode(np.array(self.pad_values), self.out_dtype)[0]) if self.padded else 0,
            "PLACES": self.buffer.places,
            "FREES_Y": self.buffer.loops[0].frees,
            "FREES_X": self.buffer.loops[1].frees,
            "STYLE": "block" if self.block else "distributed" if family.lut_ram else "logic",
            "LATENCY": self.fetch + 1,
            "CREDITS": self.schedule().credits,
        }
        return Rtl(f"bf_{self.op}", parameters)
