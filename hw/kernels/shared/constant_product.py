"""Base class of kernels that multiply by constant weights, as other implementations of the same product see them."""

from abc import abstractmethod
from functools import cached_property
from typing import Any, ClassVar, Protocol, Self, cast

import numpy as np
from qonnx.core.datatype import BaseDataType

from hw import kernels
from hw.ir.kernel import Folding, Kernel


class Implementation(Protocol):
    """A kernel class that implements products."""

    def of(self, product: Any) -> Kernel | None:
        """The implementation of a product; None if it is not one of this product's implementations."""
        ...


class ConstantProduct(Kernel):
    """``y[..., :] = matrix @ x[..., :]`` at every position, with constant integers.

    Subclasses are dataclasses with these fields. ``weights`` are the matrix, or its parts that are not always 0;
    ``prefix`` is the shape of the positions.
    """

    alternatives: ClassVar[tuple[str, ...]]
    """The kernels that compute such a product, by name. The first defines it."""

    weights: np.ndarray
    input_dtype: BaseDataType
    prefix: tuple[int, ...]
    input_range: tuple[int, int] | None

    @cached_property
    def _others(self) -> tuple[Kernel, ...]:
        """The other implementations. Copies in other foldings share them."""
        classes = (cast(Implementation, kernels.get(op)) for op in self.alternatives if op != self.op)
        return tuple(made for made in (other.of(self) for other in classes) if made is not None)

    def implementations(self) -> tuple[Kernel, ...]:
        return tuple(sorted((self, *self._others), key=lambda kernel: self.alternatives.index(kernel.op)))

    def dense(self) -> "ConstantProduct":
        """The product as the kernel that defines it."""
        return self

    @property
    @abstractmethod
    def matrix(self) -> np.ndarray:
        """The matrix of one position, (outputs, inputs); inputs in the order of the stream."""

    @property
    @abstractmethod
    def matrix_shape(self) -> tuple[int, int]:
        """Its outputs and inputs."""

    @abstractmethod
    def whole(self, positions: int) -> Folding:
        """The folding in which a beat holds all elements of this many positions."""

    def at(self, positions: int) -> Self:
        """The kernel in this folding."""
        return self.fold(self.whole(positions))
