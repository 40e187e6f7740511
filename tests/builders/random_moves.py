"""Random small convolutional networks in which elements move between the layers."""

import numpy as np

from tests.builders.random_images import RandomImages


class RandomMoves(RandomImages):
    """Networks of ``RandomImages`` with moves between their layers; frames are small."""

    def block(self, x: str) -> str:
        if self.rng.random() < 0.5:
            return super().block(x)
        move = self.rng.choice(self.moves())
        return getattr(self, move)(x)

    def moves(self) -> list[str]:
        """The names of the moves that can be drawn."""
        return ["shuffle", "split", "slice", "gather"]

    def integers(self, *values: int) -> str:
        """A constant list of integers."""
        return self.builder.constant(values, np.int64)

    def divisor(self, size: int) -> int:
        """A random divisor of a size."""
        return int(self.rng.choice([n for n in range(1, size + 1) if size % n == 0]))

    def shuffle(self, x: str) -> str:
        """The channels of several groups, interleaved."""
        b, groups = self.builder, self.divisor(self.channels)
        x = b.node("Reshape", x, self.integers(1, groups, self.channels // groups, *self.spatial))
        x = b.node("Transpose", x, perm=[0, 2, 1, *range(3, 3 + len(self.spatial))])
        return b.node("Reshape", x, self.integers(1, self.channels, *self.spatial))

    def split(self, x: str) -> str:
        """One part of the channels is a layer further; both are joined, in either order."""
        b, channels = self.builder, self.channels
        if channels < 2:
            return x
        first = int(self.rng.integers(1, channels))
        a = b.node("Split", x, self.integers(first, channels - first), outputs=2, axis=1)
        other = f"{a}_1"
        self.channels = first
        scale = self._scale(-2, 1)
        a = self.quantizer(self.conv(a, pointwise=True, outputs=first), scale)
        parts = [a, other] if self.rng.random() < 0.5 else [other, a]
        self.channels = channels
        return b.node("Concat", *parts, axis=1)

    def slice(self, x: str) -> str:
        """A part of an axis, possibly with a step."""
        axis = int(self.rng.integers(1, 2 + len(self.spatial)))
        size = self.shape[axis]
        start = int(self.rng.integers(0, size))
        end, by = int(self.rng.integers(start + 1, size + 2)), int(self.rng.integers(1, 3))
        if start and self.rng.random() < 0.5:
            start -= size
        self._resize(axis, len(range(size)[start:end:by]))
        return self.builder.node("Slice", x, *map(self.integers, (start, end, axis, by)))

    def gather(self, x: str) -> str:
        """Some channels in any order."""
        chosen = self.rng.permutation(self.channels)[: int(self.rng.integers(1, self.channels + 1))]
        self.channels = len(chosen)
        return self.builder.node("Gather", x, self.integers(*(int(c) for c in chosen)), axis=1)

    def _resize(self, axis: int, size: int) -> None:
        if axis == 1:
            self.channels = size
        else:
            self.spatial = tuple(size if i == axis - 2 else n for i, n in enumerate(self.spatial))
