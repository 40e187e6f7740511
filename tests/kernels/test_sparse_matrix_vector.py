"""Sparse products: any matrix and folding, the search, FINN, files, and the cycle model of what is around them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qonnx.core.datatype import DataType

from hw import finn, graph_file
from hw.fabric.resources import Resources
from hw.families.ecp5 import ECP5
from hw.folding import choose
from hw.host.errors import BitfabricError
from hw.ir.graph import Graph, Node, Port
from hw.ir.kernel import Folding
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.sparse_matrix_vector.cases import balanced, unbalanced
from hw.kernels.sparse_matrix_vector.kernel import SparseMatrixVector
from hw.kernels.sparse_matrix_vector.pattern import LEAST_SAVED, cycles_by_folding, pattern
from hw.passes.fifos import insert_fifos
from hw.passes.fold import apply_folding, current_folding
from hw.passes.lanes import insert_width_converters
from hw.timing import cycles
from hw.timing.fifo_sizing import size_fifos
from hw.timing.periodic import fastest
from hw.timing.strips import divide
from tests.kernels.kernel_bench import alone, check, random_frames

DEVICE = Resources(83640, 83640, 208, 156)


def product(matrix: np.ndarray, prefix: tuple[int, ...] = (), **folding: int) -> MatrixVector:
    return MatrixVector(matrix, DataType["INT4"], DataType["UINT4"], prefix, **folding)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(1, 24), st.floats(0, 1), st.integers(0, 2**32))
def test_every_folding_needs_each_weight_once(mh, mw, density, seed):
    """The foldings are those that save; the words hold every weight once, at its input, and columns ascend."""
    matrix = unbalanced(np.random.default_rng(seed), "INT4", (mh, mw), density)
    found = cycles_by_folding(matrix)
    for folding in MatrixVector(matrix, DataType["INT4"], DataType["UINT4"]).foldings():
        pe, simd = folding.pe, folding.simd
        made = pattern(matrix, pe, simd)
        nf, sf, firings = mh // pe, mw // simd, len(made.columns)
        assert ((pe, simd) in found) == (max(firings, sf) <= (1 - LEAST_SAVED) * nf * sf)
        assert found.get((pe, simd), firings) == firings
        assert made.lengths.min() >= 1
        assert firings <= max(nf * sf, nf)
        back, group = np.zeros((nf, pe, sf, simd), np.int64), np.repeat(np.arange(nf), made.lengths)
        for i in range(firings):
            back[group[i], :, made.columns[i], np.arange(simd)] += made.weights[i].T
            if i and group[i] == group[i - 1]:
                assert (made.columns[i] >= made.columns[i - 1]).all()
        np.testing.assert_array_equal(back.reshape(mh, mw), matrix)


def named(kernel):
    return [each.op for each in kernel.implementations()]


def test_what_a_folding_needs_does_not_depend_on_the_one_before():
    """The folded kernel is the one that is made in its folding, and a folding that saves nothing says what it needs."""
    sparse = product(balanced(np.random.default_rng(2), "INT4", (32, 64), 4, 8, 2)).implementations()[1]
    folded = [sparse.fold(folding) for folding in sparse.foldings()]
    for kernel in folded:
        assert (kernel.firings, kernel.interval) == (replace(kernel).firings, replace(kernel).interval)
        for other in folded:
            again = kernel.fold(Folding(other.pe, other.simd))
            np.testing.assert_array_equal(again.lengths, other.lengths)
        with pytest.raises(BitfabricError, match=f"PE={sparse.mh} and SIMD={sparse.mw} need 1 of 1 cycles a vector"):
            kernel.fold(Folding(sparse.mh, sparse.mw))


def test_a_matrix_without_enough_zeros_has_no_sparse_implementation():
    rng = np.random.default_rng(1)
    assert "sparse_matrix_vector" not in named(product(rng.integers(1, 8, (8, 8))))
    signs = MatrixVector(rng.choice([-1, 1], (8, 8)), DataType["BIPOLAR"], DataType["UINT4"])
    assert "sparse_matrix_vector" not in named(signs)
    assert "sparse_matrix_vector" in named(product(np.zeros((8, 8), int)))
    matrix = balanced(rng, "INT4", (4, 16), 4, 4, 2)
    with pytest.raises(BitfabricError, match=r"^sparse_matrix_vector: PE=4 and SIMD=4 need 4 of 4 cycles a vector"):
        SparseMatrixVector(matrix, DataType["INT4"], DataType["UINT4"], pe=4, simd=4)
    sparse = SparseMatrixVector(matrix, DataType["INT4"], DataType["UINT4"], pe=1, simd=4)
    with pytest.raises(BitfabricError, match="pe=3 does not divide the 4 outputs; legal: 1, 2, 4"):
        sparse.fold(Folding(3, 4))
    with pytest.raises(BitfabricError, match="one pixel at a time"):
        replace(sparse, prefix=(4,), pe=4, simd=16, pixels=2)


def test_balanced_zeros_divide_cycles_and_words_by_four():
    matrix = balanced(np.random.default_rng(2), "INT4", (32, 64), 4, 8, 2)
    dense = product(matrix, pe=4, simd=8)
    sparse = dense.implementations()[1].fold(Folding(4, 8))
    assert (dense.interval, sparse.interval) == (64, 16)
    assert (dense.memory.depth, sparse.memory.depth) == (64, 16)
    assert sparse.memory.width == dense.memory.width + 8 * 3


def chain(rng: np.random.Generator, prefix: tuple[int, ...]) -> Graph:
    """Three products, the one in the middle sparse and uneven, at a folding at which all take about the same time."""
    matrix = unbalanced(rng, "INT4", (12, 16), 0.2)
    first = MatrixVector(rng.integers(0, 2, (16, 4)), DataType["UINT1"], DataType["UINT1"], prefix, 4, 1)
    middle = SparseMatrixVector(matrix, DataType["INT4"], first.accumulator_dtype, prefix, 2, 4)
    last = MatrixVector(rng.integers(-2, 2, (2, 12)), DataType["INT2"], middle.accumulator_dtype, prefix, 1, 1)
    nodes = [Node(f"n{i}", kernel, (f"e{i}",), (f"e{i + 1}",)) for i, kernel in enumerate((first, middle, last))]
    return Graph(tuple(nodes), (Port("x", "e0", (*prefix, 4), "UINT1"),), (Port("y", "e3", (*prefix, 2), "int64"),))


@pytest.mark.parametrize("prefix", [(), (4,)])
def test_networks_keep_their_schedule(prefix):
    """Simulation, steady state, periodic schedule and FIFO sizes agree about a sparse layer in the middle; RTL too."""
    rng = np.random.default_rng(3)
    connected = insert_width_converters(chain(rng, prefix))
    depths = size_fifos(connected)
    graph = insert_fifos(connected, depths)
    if prefix:
        check(graph, {"e0": random_frames(graph.edges["e0"], 5, rng)}, rng)
    found = cycles.steady(graph)
    assert cycles.steady_state(graph) == cycles.SteadyState(found.interval, found.latency)
    assert fastest(graph).interval == found.interval
    assert found.interval == max(node.kernel.interval for node in graph)
    assert sum(each.cycles for each in found.stall_breakdowns().values()) > 0
    parts = divide(graph, 2)
    assert (parts is None) == (prefix == ())


def test_the_search_takes_what_is_cheaper_and_files_keep_it(tmp_path):
    rng = np.random.default_rng(4)
    graph = alone(product(balanced(rng, "INT4", (32, 64), 4, 8, 2)))
    table = choose.for_cycles(graph, 64, ECP5, DEVICE)
    assert table["dut"].implementation == "sparse_matrix_vector"
    folded = apply_folding(graph, table)
    assert choose.estimate_resources(folded, ECP5).lut < 0.6 * choose.estimate_resources(
        apply_folding(graph, {"dut": Folding(4, 8, implementation="matrix_vector")}), ECP5
    ).lut  # fmt: skip
    assert current_folding(folded) == table
    graph_file.write(folded, tmp_path)
    back = graph_file.read(tmp_path)
    assert str(back) == str(folded)
    frames = {"in0": random_frames(graph.edges["in0"], 3, rng)}
    np.testing.assert_array_equal(back.execute(frames)["out0"], graph.execute(frames)["out0"])
    dense = apply_folding(back, {"dut": Folding(4, 8, implementation="matrix_vector")})
    assert type(dense.nodes[0].kernel) is MatrixVector


def test_finn_gets_the_dense_matrix():
    graph = alone(product(balanced(np.random.default_rng(5), "INT4", (8, 16), 2, 4, 1), pe=2, simd=4))
    table = {"dut": Folding(2, 4, implementation="sparse_matrix_vector")}
    written = finn.write(finn.adapted(apply_folding(graph, table)))
    back = finn.read(written).nodes[0].kernel
    assert type(back) is MatrixVector
    assert back.folding == Folding(2, 4)
    np.testing.assert_array_equal(back.weights, graph.nodes[0].kernel.weights)
