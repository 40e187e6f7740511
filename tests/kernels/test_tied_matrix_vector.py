"""``tied_matrix_vector``: what repeats in a weight memory is found, stored once, and read exactly."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qonnx.core.datatype import DataType

from hw import finn, graph_file
from hw.families import find_family, reference_device
from hw.families.ecp5 import ECP5
from hw.folding import choose
from hw.host.errors import BitfabricError
from hw.ir.kernel import Folding
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.shared.random_parameters import weights
from hw.kernels.tied_matrix_vector import ties, turns
from hw.kernels.tied_matrix_vector.cases import circulant, repeated, rotated
from hw.kernels.tied_matrix_vector.kernel import TiedMatrixVector
from hw.kernels.tied_matrix_vector.turns import Loop
from hw.passes.fold import apply_folding, current_folding
from tests.kernels.kernel_bench import alone, random_frames

DEVICE = reference_device(ECP5).capacity
INT4, UINT4 = DataType["INT4"], DataType["UINT4"]


def product(matrix: np.ndarray, dtype: str = "INT4", pe: int = 1, simd: int = 1) -> MatrixVector:
    return MatrixVector(matrix, DataType[dtype], UINT4, pe=pe, simd=simd)


def tied(kernel: MatrixVector) -> TiedMatrixVector | None:
    return next((each for each in kernel.implementations() if isinstance(each, TiedMatrixVector)), None)


@given(st.integers(1, 80), st.integers(1, 40), st.integers(1, 12), st.integers(0, 2**32))
def test_words_are_those_of_table_index_and_wires(depth: int, width: int, kinds: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 2, (kinds, width), dtype=np.uint8)[rng.integers(kinds, size=depth)]
    for bit in range(width):
        if rng.random() < 0.3:
            words[:, bit] = words[:, rng.integers(width)] ^ rng.integers(2)
        elif rng.random() < 0.1:
            words[:, bit] = rng.integers(2)
    found = ties.find(words)
    np.testing.assert_array_equal(found.words(), words)
    assert found.bits <= words.size
    assert found.sources.max() < 2 * (found.table.shape[1] + 1)
    if found.index is not None:
        assert len(found.table) == 1 << found.index_bits
    flips = rng.integers(found.bits, size=3)
    twice = found.flipped(flips).flipped(flips)
    np.testing.assert_array_equal(twice.words(), words)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["BIPOLAR", "INT2", "INT4", "INT8"]),
    st.sampled_from([2, 3, 4, 8]),
    st.integers(2, 6),
    st.integers(4, 9),
    st.integers(0, 2**32),
)
def test_circulant_blocks_are_found_and_need_a_row_each(
    dtype: str, side: int, rows: int, columns: int, seed: int
) -> None:
    matrix = circulant(np.random.default_rng(seed), dtype, (rows * side, columns * side), side)
    kernel = MatrixVector(matrix, DataType[dtype], DataType["INT8"])
    made = tied(kernel)
    if rows * columns < ties.LEAST_WORDS or matrix.size * kernel.weight_dtype.bitwidth() < ties.LEAST_BITS:
        return
    assert made is not None
    made = made.fold(Folding(side, side))
    assert made.datapath != "input_planes"
    assert made.ties.bits <= matrix.size * kernel.weight_dtype.bitwidth() // side
    assert made.interval == kernel.fold(Folding(side, side)).interval
    np.testing.assert_array_equal(made.ties.words(), made.rows().reshape(rows * columns, -1))


def turned(rng: np.random.Generator, filters: int, channels: int) -> np.ndarray:
    """Filters of 3 x 3 in four orientations (p4, Cohen & Welling 2016), all filters of an orientation together."""
    first = weights(rng, "INT4", (filters, 9 * channels)).reshape(filters, 3, 3, channels)
    every = np.concatenate([np.rot90(first, turns, (1, 2)) for turns in range(4)])
    return every.reshape(4 * filters, -1)


def test_turned_filters_are_stored_once():
    kernel = tied(product(turned(np.random.default_rng(1), 16, 8)))
    assert kernel is not None
    folded = kernel.fold(Folding(4, 8))
    words = 4 * 9 * 4
    assert (folded.memory.depth, folded.memory.table.depth) == (words, 64)  # 36 words, in a power of two
    assert folded.ties.index is not None
    assert len(np.unique(folded.ties.index)) == words // 4


@given(
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(1, 5),
    st.integers(1, 3),
    st.integers(1, 12),
    st.integers(0, 2**32),
)
def test_words_are_those_of_turns(outer: int, first: int, inner: int, last: int, width: int, seed: int) -> None:
    """Words of any loops, of which some are others with their bits in another order and inverted."""
    rng, loop = np.random.default_rng(seed), Loop(outer, first, inner, last)
    base = rng.integers(0, 2, (2, loop.words, width), dtype=np.uint8)
    orders = np.array([rng.permutation(width) for _ in range(3)])
    phases = [base[rng.integers(2)][:, orders[rng.integers(3)]] ^ rng.integers(0, 2, width, np.uint8)
              for _ in range(loop.phases)]  # fmt: skip
    words = loop.in_time(np.array(phases))
    np.testing.assert_array_equal(loop.by_phase(words), phases)
    sources, table, found = turns.find(words, loop)
    np.testing.assert_array_equal(ties.Ties(sources, table, turns=found).words(), words)
    assert found.part.max() < loop.phases
    assert table.shape[0] == (found.part.max() + 1) * loop.words
    assert found.turn.max() < len(found.wires) <= loop.phases


SMALLER = ((1, 4), (4, 1), (2, 4), (4, 4))


@pytest.mark.parametrize(
    ("matrix", "foldings", "share"),
    [
        (circulant(np.random.default_rng(1), "INT4", (64, 128), 8), SMALLER, 1 / 4),
        (circulant(np.random.default_rng(2), "BIPOLAR", (64, 256), 16), SMALLER, 1 / 6),
        (rotated(np.random.default_rng(3), "INT4", (8, 8)), ((4, 4), (8, 8)), 1 / 3),
    ],
    ids=["circulant", "signs", "rotated"],
)
def test_words_are_turned_in_time(matrix: np.ndarray, foldings: tuple[tuple[int, int], ...], share: float) -> None:
    """With PE and SIMD below the period, and with the period over the positions of a kernel; at equal cycles."""
    dtype = "BIPOLAR" if np.abs(matrix).min() else "INT4"
    kernel = tied(MatrixVector(matrix, DataType[dtype], DataType["INT8"]))
    assert kernel is not None
    whole = matrix.size * kernel.weight_dtype.bitwidth()
    for folding in foldings:
        folded = kernel.fold(Folding(*folding))
        assert folded.datapath != "input_planes"
        assert folded.ties.turns is not None
        assert folded.ties.bits <= share * whole
        assert folded.interval == folded.dense().interval
        np.testing.assert_array_equal(folded.ties.words(), folded.rows().reshape(folded.nf * folded.sf, -1))


@pytest.mark.parametrize(("cycles", "blocks"), [(8192, (2, 16)), (2048, (2, 15))])
def test_the_search_turns_words_for_less_block_ram(cycles: int, blocks: tuple[int, int]) -> None:
    """256 x 256 weights of 4 bits in circulant blocks of 8, at rates that take PE or SIMD below 8."""
    graph = alone(product(circulant(np.random.default_rng(4), "INT4", (256, 256), 8)))
    used = []
    for plain in (False, True):
        table = choose.for_cycles(graph, cycles, ECP5, DEVICE, plain=plain)
        folded = apply_folding(graph, table)
        used.append(choose.estimate_resources(folded, ECP5))
        assert folded.nodes[0].kernel.interval <= cycles
        assert folded.nodes[0].kernel.op == ("matrix_vector" if plain else "tied_matrix_vector")
    assert (used[0].bram, used[1].bram) == blocks
    assert choose.cost(used[0], DEVICE) < choose.cost(used[1], DEVICE)
    assert used[0].lut - used[1].lut < 400


def test_lookup_tables_are_spent_for_block_ram_only_where_there_are_enough():
    """Blocks of 8 with SIMD 98: multiplexers of 2,700 lookup tables save 76 block RAMs, but not on a full device."""
    kernel = product(circulant(np.random.default_rng(2), "INT4", (64, 784), 8))
    made = tied(kernel)
    assert made is not None
    turned, dense = (each.fold(Folding(8, 98)).resources(ECP5) for each in (made, kernel))
    assert (turned.bram, dense.bram) == (12, 88)
    assert 0 < turned.lut - dense.lut < 3000
    for lut, name in ((DEVICE.lut, "tied_matrix_vector"), (dense.lut + 1000, "matrix_vector")):
        table = choose.for_cycles(alone(kernel), 64, ECP5, replace(DEVICE, lut=lut))
        assert apply_folding(alone(kernel), table).nodes[0].kernel.op == name


def test_a_matrix_in_which_nothing_repeats_has_no_tied_implementation():
    rng = np.random.default_rng(1)
    for dtype in ("BIPOLAR", "TERNARY", "INT4", "INT8"):
        for shape in ((8, 8), (64, 96), (10, 784)):
            assert tied(product(weights(rng, dtype, shape), dtype)) is None, (dtype, shape)
    matrix = circulant(rng, "INT4", (32, 32), 4)
    with pytest.raises(BitfabricError, match=r"^tied_matrix_vector: with PE=32 and SIMD=32 less than half of the wei"):
        TiedMatrixVector(matrix, INT4, UINT4, pe=32, simd=32)
    made = TiedMatrixVector(matrix, INT4, UINT4, (4,), 4, 4)
    with pytest.raises(BitfabricError, match="pe=3 does not divide the 32 outputs; legal: 1, 2, 4"):
        made.fold(Folding(3, 4))
    with pytest.raises(BitfabricError, match="one pixel at a time"):
        replace(made, pe=32, simd=32, pixels=2)


def test_the_search_takes_it_for_less_block_ram_and_files_keep_it(tmp_path):
    """256 x 256 weights of 4 bits in circulant blocks of 8: 2 block RAMs instead of 15, at equal cycles and logic."""
    matrix = circulant(np.random.default_rng(4), "INT4", (256, 256), 8)
    graph = alone(product(matrix))
    table = choose.for_cycles(graph, 1024, ECP5, DEVICE)
    assert (table["dut"].pe, table["dut"].simd, table["dut"].implementation) == (8, 8, "tied_matrix_vector")
    folded = apply_folding(graph, table)
    dense = apply_folding(graph, {"dut": Folding(8, 8, implementation="matrix_vector")})
    used, whole = (choose.estimate_resources(each, ECP5) for each in (folded, dense))
    assert (used.bram, whole.bram, used.lut - whole.lut) == (2, 15, 0)
    assert folded.nodes[0].kernel.interval == dense.nodes[0].kernel.interval
    graph_file.write(folded, tmp_path)
    back = graph_file.read(tmp_path)
    assert str(back) == str(folded)
    assert current_folding(back) == table
    frames = {"in0": random_frames(graph.edges["in0"], 3, np.random.default_rng(5))}
    np.testing.assert_array_equal(back.execute(frames)["out0"], graph.execute(frames)["out0"])


def test_it_is_not_taken_where_it_saves_nothing():
    """In lookup tables synthesis shares equal columns itself."""
    family = find_family("xc7")
    matrix = repeated(np.random.default_rng(6), "INT2", (16, 64), (2, 4), 5)
    graph = alone(MatrixVector(matrix, DataType["INT2"], DataType["UINT2"]))
    for cycles in (64, 16, 4):
        table = choose.for_cycles(graph, cycles, family, reference_device(family).capacity)
        chosen = choose.estimate_resources(apply_folding(graph, table), family)
        folding = replace(table["dut"], implementation="matrix_vector")
        if folding in graph.nodes[0].kernel.foldings():
            dense = choose.estimate_resources(apply_folding(graph, {"dut": folding}), family)
            assert choose.cost(chosen, reference_device(family).capacity) <= choose.cost(
                dense, reference_device(family).capacity
            )


def test_finn_gets_the_dense_matrix():
    graph = alone(product(circulant(np.random.default_rng(5), "INT4", (16, 16), 4), pe=4, simd=4))
    table = {"dut": Folding(4, 4, implementation="tied_matrix_vector")}
    back = finn.read(finn.write(finn.adapted(apply_folding(graph, table)))).nodes[0].kernel
    assert type(back) is MatrixVector
    assert back.folding == Folding(4, 4)
    np.testing.assert_array_equal(back.weights, graph.nodes[0].kernel.weights)
