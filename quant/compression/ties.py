"""The places of tied weights: for each weight of a layer the number of its value, and its sign."""

import math
from dataclasses import dataclass

import numpy as np

from quant.ties import Ties

_Places = tuple[np.ndarray, np.ndarray | None]


@dataclass(frozen=True)
class Places:
    """Where the values of tied weights are.

    - ``index``, of the weights' shape (out, in, *kernel): the number of each weight's value, 0 to ``count`` - 1.
    - ``sign``, of the same shape: +1 or -1; None: all are +1.
    """

    index: np.ndarray
    sign: np.ndarray | None

    @property
    def count(self) -> int:
        """The number of values."""
        return int(self.index.max()) + 1


def places(ties: Ties, shape: tuple[int, ...], groups: int = 1, first: bool = False) -> Places | None:
    """Returns the places of a layer with weights of ``shape`` (out, in / groups, *kernel); None if none are tied.

    ``first``: the layer's inputs are those of the network. Blocks have the greatest common divisors of their sides with
    the outputs and the inputs of one group.
    """
    index, sign = _PLACES[ties.kind](ties, shape, groups, first)
    if index is None:
        return None
    used, compact = np.unique(index, return_inverse=True)
    if len(used) == index.size:
        return None
    return Places(compact.reshape(shape), sign)


def _blocks(ties: Ties, shape: tuple[int, ...], groups: int, _first: bool) -> tuple[np.ndarray | None, None]:
    """Circulant and Toeplitz blocks over outputs and channels, one for each position of the kernel."""
    side = math.gcd(ties.size, shape[0] // groups, shape[1])
    if side == 1:
        return None, None
    i, j, position = _grid(shape)
    block = ((i // side) * (shape[1] // side) + j // side) * math.prod(shape[2:]) + position
    within = (j - i) % side if ties.kind == "circulant" else j % side - i % side + side - 1
    return block * (2 * side - 1) + within, None


def _hashed(ties: Ties, shape: tuple[int, ...], groups: int, _first: bool) -> _Places:
    i, channel, position = _grid(shape)
    j = position * shape[1] + channel
    pe, simd = math.gcd(ties.pe, shape[0] // groups), math.gcd(ties.simd, shape[1])
    blocks = math.prod(shape) // (pe * simd)
    count = -(-blocks // ties.size)
    key = (i // pe) * (math.prod(shape[1:]) // simd) + j // simd
    value = _mix(key) % np.uint64(count)
    index = value.astype(np.int64) * pe * simd + (i % pe) * simd + j % simd
    return index, np.where(_mix(key + (1 << 40)) & np.uint64(1), 1, -1) if ties.signed else None


def _negated(_ties: Ties, shape: tuple[int, ...], groups: int, _first: bool) -> tuple[np.ndarray | None, np.ndarray]:
    i, j, position = _grid(shape)
    index = ((i // 2) * shape[1] + j) * math.prod(shape[2:]) + position
    return None if shape[0] // groups % 2 else index, 1 - 2 * (i % 2)


def _mix(key: np.ndarray) -> np.ndarray:
    """Hashes numbers from 0 to 64 bits (the output function of SplitMix64, Steele, Lea, Flood 2014)."""
    z = (key.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _rotated(ties: Ties, shape: tuple[int, ...], groups: int, first: bool) -> tuple[np.ndarray | None, None]:
    """Filters under rotations and reflections, and the group convolutions over them."""
    order = 8 if ties.kind == "p4m" else 4
    if len(shape) != 4 or shape[2] != shape[3] or groups > 1 or shape[0] % order:
        return None, None
    plain = ties.kind == "circ" or first or bool(shape[1] % order)
    maps = 1 if plain else order
    base = np.arange(math.prod(shape) // order).reshape(shape[0] // order, shape[1] // maps, maps, *shape[2:])
    index = np.empty((shape[0] // order, order, *shape[1:]), np.int64)
    for element in range(order):
        seen = [0] if plain else [_product(_inverse(element), s) for s in range(order)]
        index[:, element] = _turned(base[:, :, seen], element).reshape(shape[0] // order, *shape[1:])
    return index.reshape(shape), None


def _turned(filters: np.ndarray, element: int) -> np.ndarray:
    """Applies a rotation by ``element mod 4`` quarters after, from 4 on, a reflection; to (..., k, k)."""
    reflected = filters[..., ::-1] if element >= 4 else filters
    return np.rot90(reflected, element % 4, (-2, -1))


def _product(a: int, b: int) -> int:
    """The element of the group that turns by b, then by a: r^m s^f with element = m + 4 f and s r = r^-1 s."""
    turns = a % 4 + (b % 4 if a < 4 else -(b % 4))
    return turns % 4 + 4 * ((a >= 4) ^ (b >= 4))


def _inverse(a: int) -> int:
    return a if a >= 4 else -a % 4


def _translated(ties: Ties, shape: tuple[int, ...], groups: int, _first: bool) -> tuple[np.ndarray | None, None]:
    if len(shape) != 4 or shape[2] != shape[3] or ties.size <= shape[2] or groups > 1:
        return None, None
    side = ties.size - shape[2] + 1
    o, c, m, n = np.ogrid[tuple(slice(size) for size in shape)]
    family, patch = o // side**2, o % side**2
    row, column = patch // side + m, patch % side + n
    return ((family * shape[1] + c) * ties.size + row) * ties.size + column, None


def _grid(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The output, the channel and the position of the kernel, each of the weights' shape."""
    i, j = np.indices(shape)[:2]
    positions = np.arange(math.prod(shape[2:])).reshape(1, 1, *shape[2:])
    return i, j, np.broadcast_to(positions, shape)


_PLACES = {
    "circulant": _blocks,
    "toeplitz": _blocks,
    "hashed": _hashed,
    "negated": _negated,
    "circ": _rotated,
    "p4": _rotated,
    "p4m": _rotated,
    "translated": _translated,
}
