"""Buffers between a kernel's input and its firings: when words are written, read and released."""

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import NamedTuple

import numpy as np


class Loop(NamedTuple):
    """One loop of a nest: its iterations (``turns``), and the words by which an iteration advances the read position
    (``step``) and the oldest word (``frees``)."""

    turns: int
    step: int
    frees: int


@dataclass(frozen=True)
class Buffer:
    """A memory that keeps input words while firings read them repeatedly: the second half of a Schedule.

    **Writing.** Words are numbered from 0 over all frames. A frame is ``beats`` beats of ``words_per_beat`` words. One
    beat per cycle is consumed, into as many of the ``places`` of the memory as it has words.

    **Reading.** The firings of a frame are the turns of the nested ``loops``, the outermost first. A firing of frame
    ``f`` reads at most ``reach`` words from the position p = f * frame + start + (sum of index * step over the loops).
    It waits until all words below min(p + reach, (f + 1) * frame) were consumed at least ``delay`` cycles before.
    Words outside the frame are padding.

    **Release.** The *oldest* word is computed as p, with ``frees`` instead of ``step``; it never decreases. All words
    below it have left the memory. A beat can be consumed if the number of its last word is below oldest + ``places`` of
    some firing, and the firing before that one happened at least ``release`` cycles before.
    """

    beats: int
    places: int
    start: int
    reach: int
    loops: tuple[Loop, ...]
    delay: int = 1
    release: int = 1
    words_per_beat: int = 1

    @property
    def frame(self) -> int:
        """Words per frame."""
        return self.beats * self.words_per_beat

    @property
    def firings(self) -> int:
        """Firings per frame."""
        return prod(loop.turns for loop in self.loops)

    @cached_property
    def nest(self) -> np.ndarray:
        """Array ``(1 + loops, 3)``: turns, and the moves of position and oldest word when that loop turns and the inner
        loops start again. The first row is the step to the next frame."""
        rows = [(1, self.frame, self.frame), *self.loops]
        table, inner = np.zeros((len(rows), 3), np.int64), np.zeros(2, np.int64)
        for i in reversed(range(len(rows))):
            turns, *moves = rows[i]
            table[i] = (turns, *(moves - inner))
            inner += (turns - 1) * np.array(moves)
        return table

    def monotone(self) -> bool:
        """Whether the oldest word never decreases from one firing to the next."""
        return bool((self.nest[1:, 2][self.nest[1:, 0] > 1] >= 0).all() and self.nest[0, 2] >= 0)

    def offsets(self) -> tuple[np.ndarray, np.ndarray]:
        """Position and oldest word of every firing of a frame, counted from ``start``: two arrays ``(firings,)``."""
        position, oldest = np.zeros(1, np.int64), np.zeros(1, np.int64)
        for turns, step, frees in self.loops:
            turn = np.arange(turns)
            position = (position[:, None] + turn * step).ravel()
            oldest = (oldest[:, None] + turn * frees).ravel()
        return position, oldest
