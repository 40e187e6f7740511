"""Which columns of an input vector the products of a sparse matrix need, firing by firing.

Input i of a vector is in bank i modulo SIMD, at column i // SIMD: a beat of the stream is a column of all banks. A
group of PE outputs needs the columns in which one of its weights is not 0. In each firing every bank gives one column,
in increasing order; so a group takes as many firings as the bank with the most of them has (bank-balanced sparsity: Cao
et al., "Efficient and Effective Sparse LSTM on FPGA with Bank-Balanced Sparsity", FPGA 2019). Banks with fewer repeat
their last column, with weights of 0.
"""

from dataclasses import dataclass

import numpy as np

from hw.kernels.shared.parameters import divisors

LEAST_SAVED = 1 / 8
"""Minimum share of the cycles of a vector that must be saved; an address for each bank is stored for it."""


@dataclass(frozen=True, eq=False)
class Pattern:
    """The firings of one vector: ``lengths`` (NF,) of the groups, and by firing the ``columns`` (F, SIMD) of the banks
    and the ``weights`` (F, PE, SIMD)."""

    lengths: np.ndarray
    columns: np.ndarray
    weights: np.ndarray


def group_lengths(used: np.ndarray, simd: int) -> np.ndarray:
    """Firings of each group, (NF,). ``used`` (NF, MW): whether a group needs an input."""
    columns = used.reshape(len(used), -1, simd).sum(axis=1, dtype=np.int32)
    return np.maximum(1, columns.max(axis=1))


def used_inputs(weights: np.ndarray, pe: int) -> np.ndarray:
    """Whether a group of ``pe`` outputs needs an input, (NF, MW)."""
    return np.asarray((weights != 0).reshape(-1, pe, weights.shape[1]).any(axis=1))


def saves(firings: int, weights: np.ndarray, pe: int, simd: int) -> bool:
    """Whether ``firings`` for a vector, or the beats in which it arrives, are fewer than those of the dense matrix."""
    outputs, inputs = weights.shape
    dense = outputs // pe * (inputs // simd)
    return max(firings, inputs // simd) <= (1 - LEAST_SAVED) * dense


def cycles_by_folding(weights: np.ndarray) -> dict[tuple[int, int], int]:
    """Firings of a vector for each (PE, SIMD) that saves cycles."""
    found: dict[tuple[int, int], int] = {}
    by_pe: dict[int, np.ndarray] = {}
    for pe in divisors(len(weights)):
        part = max((known for known in by_pe if pe % known == 0), default=0)
        if part:
            used = np.asarray(by_pe[part].reshape(len(weights) // pe, -1, weights.shape[1]).any(axis=1))
        else:
            used = used_inputs(weights, pe)
        by_pe[pe] = used
        if np.count_nonzero(used) > (1 - LEAST_SAVED) * used.size:
            continue
        for simd in divisors(weights.shape[1]):
            firings = int(group_lengths(used, simd).sum())
            if saves(firings, weights, pe, simd):
                found[pe, simd] = firings
    return found


def pattern(weights: np.ndarray, pe: int, simd: int) -> Pattern:
    """The firings of a matrix (MH, MW) with ``pe`` outputs and ``simd`` inputs at a time."""
    used = used_inputs(weights, pe)
    lengths = group_lengths(used, simd)
    group = np.repeat(np.arange(len(lengths)), lengths)
    step = np.arange(len(group)) - (np.cumsum(lengths) - lengths)[group]
    banks = used.reshape(len(used), -1, simd)
    order = np.argsort(~banks, axis=1, kind="stable")  # by group and bank: the needed columns first
    counts = banks.sum(axis=1)[group]
    real = step[:, None] < counts
    place = np.where(real, step[:, None], np.maximum(counts - 1, 0))
    columns = order[group[:, None], place, np.arange(simd)]
    folded = weights.reshape(len(used), pe, -1, simd)
    rows = group[:, None, None], np.arange(pe)[:, None], columns[:, None], np.arange(simd)
    return Pattern(lengths, columns, folded[rows] * real[:, None])
