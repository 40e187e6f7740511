"""Plans constant matrix-vector products: canonical signed digits, common subexpressions, trees of adders (in C++).

A weight is a sum of signed powers of two, of which no two neighbours are in use (canonical signed digits), so that a
row of the matrix is a sum of shifted inputs. Pairs of terms that occur in several places, with any shift between them,
become a term of their own: greedy, the pair that saves most next (Hartley, "Subexpression sharing in filters using
canonic signed digit multipliers", IEEE Trans. Circuits and Systems II 43, 1996). A row may first be written as the sum
of another row, shifted, and a difference of fewer digits. Then shared sums whose own adders cost more than they save
are dissolved in their readers, and what remains of a row is summed by a tree, the cheapest adder next. Several
valuations of pairs are tried (``TRIALS``), and the cheapest plan is kept, by the costs of
``hw.kernels.constant_matrix.adders``; a level more must save one table in a hundred. Rows without a common input, as
those of depthwise layers, share nothing and are planned apart.
"""

import ctypes
import hashlib
import itertools
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hw.kernels.constant_matrix.plan import Plan, Term, from_tables
from hw.native import cache
from hw.native.library import Library, array

_LIBRARY = Library("hw.kernels.constant_matrix", ("plan.cpp",))
_INT, _TABLE = ctypes.c_int64, array(np.int64, 2)
_plan_sums = _LIBRARY.function(
    "plan_sums", _TABLE, *(_INT,) * 8, array(np.float64, 2), _INT, _TABLE, _INT, _TABLE, result=_INT
)
TERNARY = 6
"""Inputs of a lookup table with which one adder has three operands."""
CHAIN = 4
"""Lookup tables of a carry chain of ECP5 beside its bits, as the search counts them: more than it takes, because a sum
also takes wires. With 1 or 2 plans are of the same size, within 2 %, and deeper."""
WORK = 3_000_000
"""Pairs of terms that are examined at most, in all trials of a matrix together; the first trial is always made."""


_FILES = "sums.npy", "outputs.npy"


class Trial(NamedTuple):
    """How the greedy search values an occurrence of a pair: tables for each table of the pair's adder, and tables in
    any case. The value varies by up to ``noise``, by ``seed``. Rows may be the sum of another row and a difference, at
    most ``chain`` in series."""

    per_table: float
    per_term: float
    noise: float = 0.0
    seed: int = 0
    chain: int = 0


_VALUES = (0, 8), (0, 12), (1, 2), (0.2, 6), (0, 8), (1, 4)
TRIALS = (
    *(Trial(0, 12, chain=9), Trial(0, 12), Trial(1, 2, chain=9), Trial(0, 12, chain=2), Trial(1, 2)),
    *(Trial(*value, 0.1, i, chain) for i, (chain, value) in enumerate(itertools.product((9, 0, 3, 1), _VALUES))),
)
"""What is tried for a matrix, in this order."""


def plan(weights: np.ndarray, bounds: tuple[int, int], lut_inputs: int, max_depth: int = 0) -> Plan:
    """The plan of ``weights``, integers ``(rows, inputs)``, for inputs from ``bounds[0]`` to ``bounds[1]``.

    ``lut_inputs`` chooses the adders: with 6 they have up to three operands, and their cost is that of 7 series; with
    4 two operands, and the cost of ECP5. ``max_depth`` limits the adders on a path as far as the number of terms
    permits; 0: no limit. The same arguments have the same plan. It is kept in the cache by its content.
    """
    matrix = np.ascontiguousarray(weights, np.int64)
    key = hashlib.sha256()
    for source in ("plan.cpp", "planner.py"):
        key.update(files(__package__).joinpath(source).read_bytes())
    key.update(repr((matrix.shape, bounds, lut_inputs, max_depth, TRIALS, WORK)).encode())
    key.update(matrix.astype("<i8").tobytes())

    def make(folder: Path) -> None:
        for name, table in zip(_FILES, tables(matrix, bounds, lut_inputs, max_depth), strict=True):
            np.save(folder / name, table)

    folder = cache.entry("plans", key.hexdigest()[:32], make)
    return from_arrays(matrix.shape[1], bounds, *(np.load(folder / name, allow_pickle=False) for name in _FILES))


def from_arrays(inputs: int, bounds: tuple[int, int], sums: np.ndarray, outputs: np.ndarray) -> Plan:
    """The plan of the two arrays of ``tables``."""
    terms = [tuple(Term(*row[i : i + 3]) for i in range(1, 3 * row[0], 3)) for row in sums.tolist()]
    return from_tables(inputs, bounds, terms, [None if s < 0 else Term(s, *rest) for s, *rest in outputs.tolist()])


def tables(
    matrix: np.ndarray, bounds: tuple[int, int], lut_inputs: int, max_depth: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Plans a matrix, without the cache; arguments as of ``plan``.

    Two arrays: by sum the number of its terms, then source, shift and sign of three terms; by row source, shift and
    sign, with the source -1 where the row is zero.
    """
    matrix = np.ascontiguousarray(matrix, np.int64)
    inputs, count = matrix.shape[1], 0
    made, outputs = [np.zeros((0, 10), np.int64)], np.tile(np.array([-1, 0, 1]), (len(matrix), 1))
    for rows, columns in _parts(matrix):
        sums, results = _tables(matrix[np.ix_(rows, columns)], bounds, lut_inputs, max_depth)
        sources = np.concatenate((columns, inputs + count + np.arange(len(sums))))
        terms = sums[:, 1::3]
        present = np.arange(terms.shape[1]) < sums[:, :1]
        terms[present] = sources[terms[present]]
        results[:, 0] = sources[results[:, 0]]
        made.append(sums)
        outputs[rows] = results
        count += len(sums)
    return np.concatenate(made), outputs


def _parts(matrix: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The rows and the columns of each part of a matrix that has nothing in common with the others; rows and columns of
    zeros are in none."""
    from scipy.sparse import bmat, csr_array
    from scipy.sparse.csgraph import connected_components

    rows = len(matrix)
    which = csr_array(matrix != 0)
    _, label = connected_components(bmat([[None, which], [which.T, None]]), directed=False)
    of_rows, of_columns = label[:rows], label[rows:]
    order, among = np.argsort(of_rows, kind="stable"), np.argsort(of_columns, kind="stable")
    found = []
    for part in dict.fromkeys(of_rows.tolist()):
        columns = among[slice(*np.searchsorted(of_columns[among], (part, part + 1)))]
        if len(columns):
            found.append((order[slice(*np.searchsorted(of_rows[order], (part, part + 1)))], columns))
    return found


def _tables(
    matrix: np.ndarray, bounds: tuple[int, int], lut_inputs: int, max_depth: int
) -> tuple[np.ndarray, np.ndarray]:
    """``tables`` of a matrix whose rows are all planned together."""
    matrix = np.ascontiguousarray(matrix)
    rows, inputs = matrix.shape
    arity, chain_bits, feed = (3, 1, 0) if lut_inputs >= TERNARY else (2, 2, CHAIN)
    size = np.abs(matrix)
    digits = np.bitwise_count(size ^ 3 * size).sum(axis=1, dtype=np.int64)
    work = max(1, int((digits**2).sum()))
    possible = [trial for trial in TRIALS if not (max_depth and trial.chain)]  # Rows in series are deep.
    trials = np.array(possible[: max(1, WORK // work)], np.float64)
    capacity = int(digits.sum()) + rows
    sums, outputs = np.zeros((capacity, 10), np.int64), np.zeros((rows, 3), np.int64)
    count = _plan_sums(
        matrix, rows, inputs, *bounds, arity, chain_bits, feed, max_depth, trials, len(trials), sums,
        len(sums), outputs,
    )  # fmt: skip
    if count < 0:
        raise RuntimeError("a plan has more adders than signed digits")
    return sums[:count], outputs
