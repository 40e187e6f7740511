"""``coded_matrix_vector``: matrices of few different weights are found, and their memory holds codes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qonnx.core.datatype import DataType

from hw import finn, graph_file
from hw.families import reference_device
from hw.families.ecp5 import ECP5
from hw.folding import choose
from hw.host.errors import BitfabricError
from hw.ir.kernel import Folding
from hw.ir.stream import code_bits, encode
from hw.kernels.coded_matrix_vector.cases import few
from hw.kernels.coded_matrix_vector.kernel import CodedMatrixVector
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.shared.random_parameters import weights
from hw.kernels.tied_matrix_vector.cases import circulant
from hw.kernels.tied_matrix_vector.codebook import codebook
from hw.passes.fold import apply_folding, current_folding
from tests.kernels.kernel_bench import alone, random_frames

DEVICE = reference_device(ECP5).capacity
INT8 = DataType["INT8"]


def coded(kernel: MatrixVector) -> CodedMatrixVector | None:
    return next((each for each in kernel.implementations() if isinstance(each, CodedMatrixVector)), None)


@given(st.sampled_from(["INT3", "UINT4", "INT6", "INT8", "UINT8", "INT12"]), st.integers(1, 80), st.integers(0, 2**32))
def test_codes_stand_for_their_weights(name: str, count: int, seed: int) -> None:
    dtype, rng = DataType[name], np.random.default_rng(seed)
    values = rng.choice(np.arange(int(dtype.min()), int(dtype.max()) + 1), min(count, 2 ** dtype.bitwidth()), False)
    matrix = rng.choice(values, (8, 24))
    book = codebook(matrix, dtype)
    bits = max(1, (len(np.unique(matrix)) - 1).bit_length())
    assert (book is None) == (bits > min(6, 0.75 * dtype.bitwidth()))
    if book is not None:
        assert (book.code_bits, book.weight_bits) == (bits, dtype.bitwidth())
        assert book.tables <= book.weight_bits
        words = book.encoded(matrix)
        assert words.shape == (8, 24 * bits)
        expected = code_bits(encode(matrix, dtype), dtype.bitwidth()).reshape(8, -1)
        np.testing.assert_array_equal(book.decoded(words), expected)


def test_weights_whose_bits_tell_them_apart_need_fewer_tables():
    matrix = 8 * few(np.random.default_rng(1), "INT4", (16, 16), 4)
    book = codebook(matrix, INT8)
    assert book is not None
    assert book.code_bits == 2
    assert book.tables <= 3


def test_the_search_takes_codes_for_less_block_ram_and_files_keep_them(tmp_path):
    """128 x 256 weights of 8 bits, 16 different ones: 8 block RAMs instead of 15, at equal cycles and multipliers."""
    graph = alone(MatrixVector(few(np.random.default_rng(4), "INT8", (128, 256), 16), INT8, INT8))
    used = {}
    for plain in (False, True):
        table = choose.for_cycles(graph, 1024, ECP5, DEVICE, plain=plain)
        used[plain] = choose.estimate_resources(apply_folding(graph, table), ECP5)
        if not plain:
            assert table["dut"].implementation == "coded_matrix_vector"
            folded = apply_folding(graph, table)
    assert (used[False].bram, used[True].bram) == (8, 15)
    assert used[False].dsp == used[True].dsp
    assert choose.cost(used[False], DEVICE) < choose.cost(used[True], DEVICE)
    graph_file.write(folded, tmp_path)
    back = graph_file.read(tmp_path)
    assert current_folding(back) == table | current_folding(back)
    frames = {"in0": random_frames(graph.edges["in0"], 3, np.random.default_rng(5))}
    np.testing.assert_array_equal(back.execute(frames)["out0"], graph.execute(frames)["out0"])
    written = finn.read(finn.write(finn.adapted(back))).nodes[0].kernel
    assert type(written) is MatrixVector
    np.testing.assert_array_equal(written.weights, graph.nodes[0].kernel.weights)


def test_codes_and_ties_are_found_together():
    rng = np.random.default_rng(6)
    values = few(rng, "INT8", (256, 1), 12)[:, 0]
    matrix = values[circulant(rng, "UINT8", (64, 64), 8)]
    kernel = coded(MatrixVector(matrix, INT8, INT8))
    assert kernel is not None
    folded = kernel.fold(Folding(8, 8))
    assert folded.ties.bits == matrix.size * 4 // 8
    assert folded.interval == folded.dense().interval


def test_matrices_of_many_different_weights_have_none():
    rng = np.random.default_rng(7)
    for dtype, data in (("INT8", "INT8"), ("INT4", "UINT4"), ("TERNARY", "UINT4"), ("BIPOLAR", "BIPOLAR")):
        assert coded(MatrixVector(weights(rng, dtype, (32, 64)), DataType[dtype], DataType[data])) is None
    with pytest.raises(BitfabricError, match=r"^coded_matrix_vector: with PE=1 and SIMD=1 codes make no memory of"):
        CodedMatrixVector(weights(rng, "INT8", (32, 64)), INT8, INT8)
    assert coded(MatrixVector(few(rng, "INT8", (32, 64), 4), INT8, DataType["BIPOLAR"])) is None
