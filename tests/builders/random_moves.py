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
        several = ["shuffle", "split", "slice", "gather", "flip", "repeat"]
        return [*several, "depth", "space", "transpose"] if len(self.spatial) == 2 else several

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

    def flip(self, x: str) -> str:
        """An axis, or every second element of it, backwards."""
        axis, by = int(self.rng.integers(1, 2 + len(self.spatial))), int(self.rng.integers(1, 3))
        self._resize(axis, len(range(self.shape[axis])[::-by]))
        return self.builder.node("Slice", x, *map(self.integers, (-1, -(1 << 40), axis, -by)))

    def repeat(self, x: str) -> str:
        """A small axis as a whole, twice."""
        axis = int(self.rng.integers(1, 2 + len(self.spatial)))
        if self.shape[axis] > 4:
            return x
        counts = [1 + (i == axis) for i in range(2 + len(self.spatial))]
        self._resize(axis, 2 * self.shape[axis])
        return self.builder.node("Tile", x, self.integers(*counts))

    def depth(self, x: str) -> str:
        """Space to depth, after a crop to an even size."""
        size = tuple(n // 2 * 2 for n in self.spatial)
        if min(size) == 0 or self.channels > 4:
            return x
        x = self.builder.node("Slice", x, self.integers(0, 0), self.integers(*size), self.integers(2, 3))
        self.channels, self.spatial = 4 * self.channels, tuple(n // 2 for n in size)
        return self.builder.node("SpaceToDepth", x, blocksize=2)

    def space(self, x: str) -> str:
        """Depth to space, in either mode."""
        if np.prod(self.spatial) > 25:
            return x
        x = self.quantizer(self.conv(x, 4 * int(self.rng.integers(1, 3)), pointwise=True))
        self.channels, self.spatial = self.channels // 4, tuple(2 * n for n in self.spatial)
        return self.builder.node("DepthToSpace", x, blocksize=2, mode=str(self.rng.choice(["DCR", "CRD"])))

    def transpose(self, x: str) -> str:
        """Height and width exchanged, or channels with an axis."""
        perm = [(0, 1, 3, 2), (0, 3, 2, 1), (0, 2, 3, 1)][int(self.rng.integers(0, 3))]
        _, self.channels, *spatial = (self.shape[axis] for axis in perm)
        self.spatial = tuple(spatial)
        return self.builder.node("Transpose", x, perm=list(perm))

    def _resize(self, axis: int, size: int) -> None:
        if axis == 1:
            self.channels = size
        else:
            self.spatial = tuple(size if i == axis - 2 else n for i, n in enumerate(self.spatial))
