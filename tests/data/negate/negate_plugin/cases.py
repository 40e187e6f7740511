"""Cases of ``negate``: small kernels for every check, the definition of the result, and the measured grid."""

from collections.abc import Iterator

import numpy as np
from qonnx.core.datatype import DataType

from negate_plugin.kernel import Negate


def cases() -> Iterator[tuple[str, Negate]]:
    """Types of every kind, several pixels."""
    yield "signed", Negate((2, 4), DataType["INT4"], 2)
    yield "unsigned", Negate((6,), DataType["UINT3"])
    yield "signs", Negate((2, 3), DataType["BIPOLAR"], 3)
    yield "pixels", Negate((4, 2), DataType["INT7"], 2, 2)


def definition(kernel: Negate, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """The negated integers."""
    return (0 - x.astype(object),)


def grid() -> Iterator[tuple[str, Negate]]:
    """The kernels that the resource model is fitted to."""
    yield "negate INT8 C=16 PE=4", Negate((4, 16), DataType["INT8"], 4)
