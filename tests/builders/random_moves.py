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
        return ["shuffle"]

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
