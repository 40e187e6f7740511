"""Buffers between a kernel's input and its actions: what is read when, and how many places that takes."""

from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import NamedTuple, Self

import numba
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

    def fitted(self) -> Self:
        """With the fewest places that let the actions, or the beats if they are more, follow one another every cycle,
        frame after frame. (With padding, or one action a frame, it may be a place or two more than the fewest.)"""
        shape = (self.beats, self.together, self.start, self.reach)
        return replace(self, places=int(_fewest(self.nest, *shape, self.delay, self.release)))


@numba.njit(cache=True)
def advance(nest, index):  # pragma: no cover - compiled
    """Go to the next action: count up ``index`` and say which row of the nest turns (0: the next frame begins)."""
    row = len(nest) - 1
    while row > 0:
        index[row] += 1
        if index[row] < nest[row, 0]:
            return row
        index[row] = 0
        row -= 1
    return 0


@numba.njit(cache=True)
def _fewest(nest, beats, together, start, reach, delay, release):  # pragma: no cover - compiled
    """The fewest places for the full rate, in a steady state of which three frames are looked at, and what a place
    needs to come back where frames are short.

    The slower side is never held up: if that is the writer, beat n is taken in cycle n and actions happen as early
    as they can; else action j happens in cycle j and beats are taken as late as they can be.
    """
    actions = 1
    for row in range(1, len(nest)):
        actions *= nest[row, 0]
    frames = 3 + (delay + release) // max(actions, beats)
    taken = np.arange(frames * beats)
    index = np.zeros(len(nest), np.int64)
    if actions > beats:
        taken[:] = frames * actions
        known, position, frame = 0, start, 0
        for action in range(frames * actions):
            need = -(-min(position + reach, (frame + 1) * beats * together) // together)
            while known < need:
                taken[known] = action - delay
                known += 1
            row = advance(nest, index)
            position += nest[row, 1]
            frame += row == 0
        for beat in range(frames * beats - 2, -1, -1):
            taken[beat] = min(taken[beat], taken[beat + 1] - 1)
        index[:] = 0
    places, written, clock, position, oldest, frame = together, 0, -1, start, start, 0
    for _ in range(frames * actions):
        clock += 1
        need = -(-min(position + reach, (frame + 1) * beats * together) // together)
        if need > 0:
            clock = max(clock, taken[need - 1] + delay)
        row = advance(nest, index)
        if nest[row, 2]:
            while written < frames * beats and taken[written] < clock + release:
                written += 1
            places = max(places, written * together - oldest)
        position += nest[row, 1]
        oldest += nest[row, 2]
        frame += row == 0
    return places
