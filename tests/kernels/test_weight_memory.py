"""Weight memories in tiles: the part against the words that it holds, and what synthesis makes of it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qonnx.core.datatype import DataType

from hw.families import families, find_family, reference_device
from hw.families.ecp5 import ECP5
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.shared.weight_memory import WeightMemory
from hw.rtl.design import generate
from hw.synth import yosys
from tests.kernels.kernel_bench import alone, check, random_frames


@given(st.integers(1, 40000), st.integers(1, 600), st.sampled_from(sorted(families())))
def test_every_tile_is_one_block(depth, width, name):
    family, memory = find_family(name), WeightMemory(depth, width)
    tiles = memory.tiles(family)
    assert (tiles.rows - 1) * tiles.row < depth <= tiles.rows * tiles.row
    rest = depth - (tiles.rows - 1) * tiles.row
    assert any(tiles.row <= d and tiles.bits <= w for d, w in family.bram_shapes)
    assert any(rest <= d and tiles.last_bits <= w for d, w in family.bram_shapes)
    assert memory.blocks(tiles) * family.bram_bits >= depth * width


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 9000), st.integers(1, 40), st.integers(0, 2**32))
def test_tiles_hold_the_words(depth, width, seed):
    memory = WeightMemory(depth, width)
    rows = np.random.default_rng(seed).integers(0, 2, (depth, width))
    contents = memory.contents(rows, ECP5)
    if memory.style(ECP5) == "logic":
        tiles = memory.tiles(ECP5)._replace(rows=1, row=depth, last_bits=width)
    else:
        tiles = memory.tiles(ECP5)
        assert len(contents) == memory.blocks(tiles)
    files = iter(contents)
    for row in range(tiles.rows):
        bits = tiles.bits if row < tiles.rows - 1 else tiles.last_bits
        for low in range(0, width, bits):
            part, memory_file = rows[row * tiles.row : (row + 1) * tiles.row, low : low + bits], next(files)
            assert memory_file.width == part.shape[1]
            words = [sum(int(bit) << i for i, bit in enumerate(word)) for word in part]
            assert memory_file.words == words


# Rows before the register, rows behind one, one row that is deep, and a last row of its own shape.
@pytest.mark.parametrize(("mh", "mw", "pe", "simd"), [(88, 450, 2, 18), (74, 1000, 2, 10), (50, 250, 2, 2)])
def test_deep_memories_in_block_ram(mh, mw, pe, simd, tmp_path):
    rng = np.random.default_rng(mh)
    weights = rng.choice([-1, 1], (mh, mw))
    kernel = MatrixVector(weights, DataType["BIPOLAR"], DataType["BIPOLAR"], (), pe, simd)
    assert kernel.memory.style(ECP5) == "block"
    graph = alone(kernel)
    check(graph, {"in0": random_frames(kernel.inputs()[0], 2, rng)}, rng)
    made = yosys.synthesise(generate(graph, ECP5), reference_device(ECP5), tmp_path)
    assert made.resources.bram == kernel.resources(ECP5).bram
