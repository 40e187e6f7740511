"""The minimum size of a buffer, at which it slows down neither its reader nor its writer.

The first loop of a buffer's nest, its *rows*, repeats one sequence of firings: in the inside of an image each row needs
the same number of beats more than the row before, and frees as many words more. There, all that decides about the size
is a maximum of functions that are linear in the number of the row. Such a maximum is largest in the first or in the
last row, so the rows between are not examined, and the time does not depend on how many they are.
"""

from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np

from hw.ir.buffer import Buffer, Loop

NEVER = -(1 << 60)


@cache
def fitted(buffer: Buffer) -> Buffer:
    """The same buffer with the minimum number of places at which it slows down neither its reader nor its writer.

    The slower of the two sides, firings or beats, then proceeds every cycle, frame after frame. (With padding, or
    with one firing per frame, the result may exceed the minimum by a place or two.)

    Three frames of the steady state are examined, and more where a frame is shorter than the time until a place is
    released. If the writer is the slower side, beat n is consumed in cycle n and firings are as early as possible;
    otherwise firing j happens in cycle j and beats are consumed as late as possible.
    """
    rows = _Rows(buffer)
    found = rows.slow_reader() if buffer.firings > buffer.beats else rows.slow_writer()
    return replace(buffer, places=max(buffer.words_per_beat, found))


@dataclass(frozen=True)
class _Rows:
    """The firings of a buffer in the frames that are examined, by row and number in the row."""

    buffer: Buffer

    @cached_property
    def loops(self) -> tuple[Loop, ...]:
        return tuple(loop for loop in self.buffer.loops if loop.turns > 1) or (Loop(1, 0, 0),)

    @cached_property
    def row(self) -> tuple[np.ndarray, np.ndarray]:
        """Position and oldest word of the firings of a row, from its first."""
        return replace(self.buffer, loops=self.loops[1:]).offsets()

    @property
    def firings(self) -> int:
        """Firings of a row."""
        return len(self.row[0])

    @property
    def turns(self) -> int:
        """Rows of a frame."""
        return self.loops[0].turns

    @cached_property
    def frames(self) -> int:
        buffer = self.buffer
        return 3 + (buffer.delay + buffer.release) // max(buffer.firings, buffer.beats)

    @property
    def beats(self) -> int:
        """Beats of all frames."""
        return self.frames * self.buffer.beats

    @property
    def growth(self) -> int:
        """Beats that an inner row needs more than the row before."""
        return self.loops[0].step // self.buffer.words_per_beat

    def inner(self, frame: int) -> range:
        """The rows of a frame, counted over all frames, in which each firing needs ``growth`` beats more than in the
        row before: all but those that read padding before the first word of all, or after the last of the frame."""
        buffer, step = self.buffer, self.loops[0].step
        ends = self.row[0] + (buffer.start + buffer.reach)
        low, high, frames = int(ends.min()), int(ends.max()), frame * buffer.frame
        if step % buffer.words_per_beat:
            return range(0)
        if step == 0:
            first, last = 0, self.turns if high <= buffer.frame and low > -frames else 0
        else:
            first, last = max(0, (-frames - low) // step + 1), min(self.turns - 1, (buffer.frame - high) // step) + 1
        return range(frame * self.turns + first, frame * self.turns + last)

    def needed(self, rows: np.ndarray) -> np.ndarray:
        """By firing of these rows the beats that it needs of all frames, (rows, firings)."""
        buffer, (frame, row) = self.buffer, np.divmod(rows[:, None], self.turns)
        ends = np.minimum(self.row[0] + (row * self.loops[0].step + buffer.start + buffer.reach), buffer.frame)
        return np.maximum(-(-ends // buffer.words_per_beat) + frame * buffer.beats, 0)

    def oldest(self, firings: np.ndarray) -> np.ndarray:
        """The oldest words of firings, counted over all frames."""
        row, within = np.divmod(firings, self.firings)
        frame, row = np.divmod(row, self.turns)
        return self.buffer.start + frame * self.buffer.frame + row * self.loops[0].frees + self.row[1][within]

    def chosen(self, margin: int) -> np.ndarray:
        """All rows but those of the inside, of which ``margin`` are left at either end."""
        skipped = np.zeros(self.frames * self.turns, np.bool_)
        for frame in range(self.frames):
            inner = self.inner(frame)
            skipped[inner.start + margin : max(inner.start + margin, inner.stop - margin)] = True
        return np.flatnonzero(~skipped)

    def most(self, firings: np.ndarray, written: np.ndarray) -> int:
        """The most places that are taken when the oldest word moves on after one of these firings, ``written`` beats
        having come."""
        last = self.frames * self.turns * self.firings - 1
        oldest, after = self.oldest(firings), self.oldest(firings + 1)
        moves = (oldest != after) & (firings >= 0) & (firings <= last)
        return int(np.max(np.where(moves, written * self.buffer.words_per_beat - oldest, NEVER)))

    def slow_writer(self) -> int:
        """The places where beat n is consumed in cycle n."""
        buffer, rows = self.buffer, self.chosen(1)
        before, ends = self._late(rows)
        if len(ends):
            rows = np.union1d(rows, ends)
            before, _ = self._late(rows)
        firings = rows[:, None] * self.firings + np.arange(self.firings)
        needed = self.needed(rows)
        late = np.where(needed > 0, needed - firings, NEVER)
        late = np.maximum(np.maximum.accumulate(late, axis=1), before[:, None])
        cycle = np.maximum(late + buffer.delay - 1, 0) + firings
        return self.most(firings, np.minimum(cycle + buffer.release, self.beats))

    def _late(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """By chosen row, by how much a firing before it needs more beats than there are firings before that one, at
        most; and those rows that are not chosen, but in which or beside which the last beat of all comes."""
        buffer = self.buffer
        late = np.where((needed := self.needed(rows)) > 0, needed - np.arange(self.firings), NEVER)
        before, ends, latest = np.empty(len(rows), np.int64), [], NEVER
        for i, (row, most) in enumerate(zip(rows, late.max(axis=1) - rows * self.firings, strict=True)):
            before[i] = latest
            latest = max(latest, int(most))
            gap = np.arange(row + 1, rows[i + 1]) if i + 1 < len(rows) else rows[:0]
            if len(gap):
                grown = np.maximum(latest, most + (gap - row) * (self.growth - self.firings))
                grown = np.maximum.accumulate(grown)
                latest = int(grown[-1])
                cycle = (gap + 1) * self.firings - 1 + np.maximum(grown + buffer.delay - 1, 0)
                ended = gap[cycle + buffer.release > self.beats]
                ends.append(np.intersect1d(gap, ended[:1, None] + np.arange(-1, 2)))
        return before, np.concatenate(ends) if ends else rows[:0]

    def slow_reader(self) -> int:
        """The places where firing j happens in cycle j.

        Of the beats that are consumed before the cycle ``now`` of a release, some were needed before; others must have
        been consumed because the beats until a later firing follow one a cycle.
        """
        buffer = self.buffer
        shift = buffer.delay + buffer.release - 1
        rows = self.chosen(1 + -(-(shift + 1) // self.firings))
        now = rows[:, None] * self.firings + np.arange(self.firings)
        needed = self.needed(rows)
        ahead = needed - now
        gaps = np.diff(rows, append=rows[-1] + 1) - 1
        earlier, later = np.empty(len(rows), np.int64), np.empty(len(rows), np.int64)
        most = 0
        for i, row in enumerate(needed.max(axis=1).tolist()):
            earlier[i] = most
            most = max(most, row + int(gaps[i]) * self.growth)
        most = self.beats - (self.frames * self.turns * self.firings + buffer.delay)  # beats that no firing needs
        for i in range(len(rows) - 1, -1, -1):
            row, slope = int(ahead[i].max()), self.growth - self.firings
            if gaps[i]:
                most = max(most, row + slope, row + int(gaps[i]) * slope)
            later[i] = most
            most = max(most, row)
        following = np.maximum.accumulate(ahead[:, ::-1], axis=1)[:, ::-1]
        follow = np.maximum(following, later[:, None]) + now
        written = np.maximum(np.maximum(np.maximum.accumulate(needed, axis=1), earlier[:, None]), follow)
        after = now[-1, -1] + 1 + np.arange(shift)  # releases after the last firing
        ended = np.maximum(needed.max(), after + self.beats - (now[-1, -1] + 1 + buffer.delay))
        return self.most(
            np.concatenate((now.ravel(), after)) - shift,
            np.minimum(np.concatenate((written.ravel(), ended)), self.beats),
        )
