"""Whether two lookup layers, or two popcounts, of the same bits compute the same for all values of these bits."""

import numpy as np

from hw.kernels.lookup_layer.kernel import LookupLayer
from hw.kernels.popcount_class.kernel import PopcountClass


def tables_differ(old: LookupLayer, new: LookupLayer, low: np.ndarray, high: np.ndarray) -> bool:
    """Whether some bits between ``low`` and ``high``, (channels,), lead to other outputs."""
    changed = (old.wires != new.wires).any(axis=1) | (old.tables != new.tables).any(axis=1)
    return any(_table_differs(old, new, int(output), low, high) for output in np.flatnonzero(changed))


def _table_differs(old: LookupLayer, new: LookupLayer, output: int, low: np.ndarray, high: np.ndarray) -> bool:
    """The same for one table, tried at all values of the bits that it reads."""
    wires, places = np.unique([old.wires[output], new.wires[output]], return_inverse=True)
    bits = np.arange(1 << len(wires))[:, None] >> np.arange(len(wires)) & 1
    bits = bits[((low[wires] <= bits) & (bits <= high[wires])).all(axis=1)]
    weights = 1 << np.arange(old.wires.shape[1])
    before, after = (bits[:, each] @ weights for each in places.reshape(2, -1))
    return bool(np.any(old.tables[output][before] != new.tables[output][after]))


def counts_differ(old: PopcountClass, new: PopcountClass, low: np.ndarray, high: np.ndarray) -> bool:
    """Whether some bits between ``low`` and ``high``, (channels,), have other sums."""
    factors, offsets = zip(*(_sums(each, low, high) for each in (old, new)), strict=True)
    return bool(np.any(factors[0] != factors[1]) or np.any(offsets[0] != offsets[1]))


def _sums(kernel: PopcountClass, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How often each class counts each bit that varies (classes, channels), and its constant part (classes,)."""
    factors = np.zeros((len(kernel.offsets), kernel.channels), np.int64)
    np.add.at(factors, (kernel.groups, kernel.wires), 1)
    fixed = low == high
    return np.where(fixed, 0, factors), kernel.offsets + factors @ np.where(fixed, low, 0)
