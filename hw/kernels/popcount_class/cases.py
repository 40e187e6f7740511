"""Cases of ``popcount_class``: small kernels for every check, the definition, and the measured grid."""

from collections.abc import Iterator

import numpy as np

from hw.kernels.popcount_class.kernel import PopcountClass

GRID = (
    # classes, bits of each, inputs of a table, adders per stage
    (4, 40, 4, 2), (4, 40, 6, 2), (2, 100, 4, 1), (1, 210, 4, 2),
)  # fmt: skip


def cases() -> Iterator[tuple[str, PopcountClass]]:
    """Classes of equal and of different sizes, one without bits, offsets, bits counted twice, both kinds of trees."""
    rng = np.random.default_rng(1)
    yield "equal", PopcountClass(np.arange(21), np.repeat(np.arange(3), 7), np.zeros(3, int), 21)
    sizes, wires = np.repeat(np.arange(5), (1, 2, 0, 23, 12)), rng.integers(0, 30, 38)
    yield "offsets", PopcountClass(wires, sizes, np.array([3, 0, 1, -2, 0]), 30, (2,), 1)
    yield "six inputs", PopcountClass(wires, rng.permutation(sizes), np.zeros(5, int), 30, (), 3, 6)
    yield "one bit", PopcountClass(np.array([1]), np.array([0]), np.array([0]), 2)


def definition(kernel: PopcountClass, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """The bits, added one by one."""
    rows = x.reshape(-1, kernel.channels).tolist()
    made = []
    for row in rows:
        sums = kernel.offsets.tolist()
        for wire, group in zip(kernel.wires.tolist(), kernel.groups.tolist(), strict=True):
            sums[group] += row[wire]
        made.append(sums)
    return (np.array(made).reshape(*x.shape[:-1], len(kernel.offsets)),)


def grid() -> Iterator[tuple[str, PopcountClass]]:
    """The kernels that the resource model is fitted to."""
    for classes, each, tables, adders in GRID:
        bits = classes * each
        yield (
            f"popcount_class {classes}x{each} tables={tables} adders={adders}",
            PopcountClass(
                np.arange(bits), np.repeat(np.arange(classes), each), np.zeros(classes, int), bits, (), adders, tables
            ),
        )
