"""A tensor as sums of elements of another tensor, each times a constant, plus a constant."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class LinearForm:
    """The tensor ``root`` leads to: ``sum(factors * root[sources]) + constant``, for each of its elements.

    ``sources`` and ``factors`` are ``(*shape, terms)``, with the shape of the tensor for a batch of one: the row-major
    positions in a frame of the root, int64, and what these elements are multiplied by, float64. A term with the factor
    0 is none. ``constant`` (float64) has the tensor's shape. Its leading axis is the batch, alone or with others.
    ``ends`` are the two values that the root's elements are taken to have. The source -1 is a padding of 0.
    """

    root: str
    sources: np.ndarray
    factors: np.ndarray
    constant: np.ndarray
    ends: tuple[float, float] = (0.0, 1.0)

    @property
    def shape(self) -> Shape:
        """The tensor's shape, with a batch of one."""
        return self.constant.shape

    @property
    def moves(self) -> bool:
        """Whether every element is one of the root's."""
        return self.factors.shape[-1] == 1 and bool(np.all(self.factors == 1)) and not self.constant.any()

    @property
    def low(self) -> np.ndarray:
        """The minimum of each element."""
        low, high = self.ends
        return np.asarray(self.constant + np.minimum(self.factors * low, self.factors * high).sum(axis=-1))

    @property
    def high(self) -> np.ndarray:
        """The maximum of each element."""
        low, high = self.ends
        return np.asarray(self.constant + np.maximum(self.factors * low, self.factors * high).sum(axis=-1))

    @property
    def magnitude(self) -> float:
        """A bound on the values, and on those of parts of the sums."""
        largest = max(map(abs, self.ends))
        return float((np.abs(self.factors).sum(axis=-1) * largest + np.abs(self.constant)).max())

    @property
    def whole(self) -> bool:
        """Whether all values are integers."""
        parts = self.factors * (self.ends[1] - self.ends[0]), self.low
        return all(bool(np.all(each == np.rint(each))) for each in parts)

    def each(self, change: Callable[[np.ndarray], np.ndarray]) -> "LinearForm":
        """The form after an operator that moves elements, for arrays of the tensor's shape."""
        places = change(np.arange(self.constant.size).reshape(self.constant.shape))
        terms = self.factors.shape[-1]
        return replace(
            self,
            sources=self.sources.reshape(-1, terms)[places],
            factors=self.factors.reshape(-1, terms)[places],
            constant=self.constant.ravel()[places],
        )

    def padded(self, places: np.ndarray) -> "LinearForm":
        """The form of the elements at ``places``, or of a padding of 0 where they are -1."""
        made, outside = self.each(lambda _: np.maximum(places, 0)), places < 0
        first = np.arange(self.factors.shape[-1]) == 0
        return replace(
            made,
            sources=np.where(outside[..., None], -1, made.sources),
            factors=np.where(outside[..., None], first, made.factors),
            constant=np.where(outside, 0.0, made.constant),
        )

    def scaled(self, factor: np.ndarray) -> "LinearForm":
        """The form times constants, which broadcast against the tensor."""
        whole = self.broadcast(np.broadcast_shapes(self.shape, factor.shape))
        return replace(whole, factors=whole.factors * factor[..., None], constant=whole.constant * factor)

    def shifted(self, addend: np.ndarray) -> "LinearForm":
        """The form plus constants, which broadcast against the tensor."""
        whole = self.broadcast(np.broadcast_shapes(self.shape, addend.shape))
        return replace(whole, constant=whole.constant + addend)

    def broadcast(self, shape: Shape) -> "LinearForm":
        """The form of the same elements, repeated to a shape."""
        return self.each(lambda places: np.broadcast_to(places, shape))

    def plus(self, other: "LinearForm") -> "LinearForm":
        """The sum with another form of the same root."""
        shape = np.broadcast_shapes(self.shape, other.shape)
        a, b = self.broadcast(shape), other.broadcast(shape)
        return LinearForm(
            self.root,
            np.concatenate([a.sources, b.sources], axis=-1),
            np.concatenate([a.factors, b.factors], axis=-1),
            a.constant + b.constant,
            self.ends,
        )

    def joined(self, others: Sequence["LinearForm"], axis: int) -> "LinearForm":
        """The form of this tensor and of others with the same root, one after another along an axis."""
        forms = (self, *others)
        terms = max(each.factors.shape[-1] for each in forms)

        def widened(array: np.ndarray) -> np.ndarray:
            return np.pad(array, [*[(0, 0)] * (array.ndim - 1), (0, terms - array.shape[-1])])

        axis %= self.constant.ndim
        return replace(
            self,
            sources=np.concatenate([widened(each.sources) for each in forms], axis),
            factors=np.concatenate([widened(each.factors) for each in forms], axis),
            constant=np.concatenate([each.constant for each in forms], axis),
        )

    def summed(self, axes: tuple[int, ...], keepdims: bool) -> "LinearForm":
        """The sums along axes."""
        rank = self.constant.ndim
        last = range(rank - len(axes), rank)
        shape = tuple(1 if i in axes else n for i, n in enumerate(self.shape) if keepdims or i not in axes)
        sources, factors = (np.moveaxis(each, axes, last).reshape(*shape, -1) for each in (self.sources, self.factors))
        return LinearForm(self.root, sources, factors, self.constant.sum(axis=axes).reshape(shape), self.ends)

    def times(self, matrix: np.ndarray) -> "LinearForm":
        """The product with a constant vector or matrix on the right; only its elements other than 0 count."""
        columns = matrix.reshape(len(matrix), -1)
        count = max(1, int(np.count_nonzero(columns, axis=0).max()))
        rows = np.argsort(columns == 0, axis=0, kind="stable")[:count].T  # (M, count)
        weights = np.take_along_axis(columns, rows.T, axis=0).T
        shape = (*self.shape[:-1], *matrix.shape[1:])
        terms = self.factors.shape[-1]
        sources = self.sources[..., rows, :].reshape(*shape, count * terms)
        factors = (self.factors[..., rows, :] * weights[..., None]).reshape(*shape, count * terms)
        return LinearForm(self.root, sources, factors, (self.constant @ columns).reshape(shape), self.ends)
