"""Buffers between a kernel's input and its firings: which words are read when, and how many places they need."""

from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import NamedTuple, Self

import numpy as np


class Loop(NamedTuple):
    """One loop of a nest: its turns, and by how many words each of them moves the position and the oldest word."""

    turns: int
    step: int
    frees: int


@dataclass(frozen=True)
class Buffer:
    """A memory that keeps input words while actions read them, again and again: the second half of a Schedule.

    A beat is ``together`` words. Words are numbered from 0 over all frames, ``frame`` of them in ``beats`` beats each;
    a beat is taken, one a cycle, into as many of the ``places`` as it has words.
    The actions of a frame are the turns of the ``loops``, the outermost first. Action ``i`` of frame ``f`` looks at
    words from position ``p`` = ``f * frame + start`` + the sum of ``step`` times index over the loops, ``reach`` of
    them at most. It waits until all words below ``min(p + reach, (f + 1) * frame)`` have been taken ``delay`` cycles
    before it or earlier; what lies outside the frame is padding. All words below the *oldest*, which is ``p`` with
    ``frees`` instead of ``step`` and never falls, have left their places: a beat can be taken once its last word's
    number is less than the oldest of some action plus ``places``, and the action before that one happened ``release``
    cycles before or earlier.
    """

    beats: int
    places: int
    start: int
    reach: int
    loops: tuple[Loop, ...]
    delay: int = 1
    release: int = 1
    together: int = 1

    @property
    def frame(self) -> int:
        """Words per frame."""
        return self.beats * self.together

    @property
    def actions(self) -> int:
        """Actions per frame."""
        return prod(loop.turns for loop in self.loops)

    @cached_property
    def nest(self) -> np.ndarray:
        """``(loops, 3)``: turns, and how far the position and the oldest word move when that loop turns and the inner
        ones begin again; a first row for the next frame."""
        rows = [(1, self.frame, self.frame), *self.loops]
        table, inner = np.zeros((len(rows), 3), np.int64), np.zeros(2, np.int64)
        for i in reversed(range(len(rows))):
            turns, *moves = rows[i]
            table[i] = (turns, *(moves - inner))
            inner += (turns - 1) * np.array(moves)
        return table

    def monotone(self) -> bool:
        """Whether the oldest word never falls from one action to the next."""
        return bool((self.nest[1:, 2][self.nest[1:, 0] > 1] >= 0).all() and self.nest[0, 2] >= 0)

    def offsets(self) -> tuple[np.ndarray, np.ndarray]:
        """Position and oldest word of every firing of a frame, counted from ``start``: two arrays ``(actions,)``."""
        position, oldest = np.zeros(1, np.int64), np.zeros(1, np.int64)
        for turns, step, frees in self.loops:
            turn = np.arange(turns)
            position = (position[:, None] + turn * step).ravel()
            oldest = (oldest[:, None] + turn * frees).ravel()
        return position, oldest

    def fitted(self) -> Self:
        """The same buffer with the fewest places at which it does not slow down its reader and its writer.

        The slower of the two sides, firings or beats, then proceeds every cycle, frame after frame. (With padding, or
        with one firing a frame, the result may be a place or two more than the fewest.)

        Three frames of the steady state are looked at, and more where frames are shorter than the time until a place
        is free again. If the writer is the slower side, beat n is taken in cycle n and firings happen as early as they
        can; else firing j happens in cycle j and beats are taken as late as they can be.
        """
        position, oldest = self.offsets()
        frames = 3 + (self.delay + self.release) // max(len(position), self.beats)
        frame, beats = np.arange(frames)[:, None], frames * self.beats
        # By firing: the beats that must have been taken, and the oldest word.
        ends = -(-np.minimum(position + (self.start + self.reach), self.frame) // self.together)
        need = np.maximum(ends + frame * self.beats, 0).ravel()
        oldest = (oldest + self.start + frame * self.frame).ravel()
        firing, beat = np.arange(len(need)), np.arange(beats)
        taken = beat
        if len(position) > self.beats:
            first = np.searchsorted(np.maximum.accumulate(need), beat + 1)  # the first firing that needs the beat
            latest = np.where(first < len(need), first - self.delay, len(need))
            taken = np.minimum.accumulate((latest - beat)[::-1])[::-1] + beat
        ready = np.where(need > 0, taken[need - 1] + self.delay, 0)
        cycle = np.maximum(np.maximum.accumulate(ready - firing), 0) + firing
        moves = np.flatnonzero(np.diff(oldest, append=frames * self.frame + self.start))
        written = np.searchsorted(taken, cycle[moves] + self.release)
        places = max(self.together, int((written * self.together - oldest[moves]).max()))
        return replace(self, places=places)
