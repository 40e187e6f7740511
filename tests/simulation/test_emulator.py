"""The emulator: chunks, edges, and frames that do not match."""

import numpy as np
import pytest

from hw.host.errors import BitfabricError
from hw.lowering.lower import lower
from hw.simulation.emulator import Emulator
from tests.builders.qonnx_builder import Builder

WEIGHTS = np.random.default_rng(0).integers(-7, 8, (12, 5)).astype(np.float32)


def perceptron(dtype=None):
    b = Builder((1, 3, 4))
    x = "x"
    if dtype:
        b.annotate("x", dtype)
    else:
        x = b.quant(x, 0.25, 4)
    x = b.quant(b.node("MatMul", b.node("Flatten", x), b.quant(WEIGHTS, 1.0, 4)), 2.0, 3)
    return lower(b.model((b.node("MatMul", x, b.quant(WEIGHTS[:5], 0.5, 4)), (1, 5))))


def test_chunks_do_not_show():
    frames = np.random.default_rng(1).normal(size=(50, 3, 4)).astype(np.float32)
    emulator = Emulator(perceptron())
    whole = emulator.run(frames)
    edges = emulator.edges(frames)
    emulator.chunk = 7
    np.testing.assert_array_equal(emulator.run(frames), whole)
    for edge, integers in emulator.edges(frames).items():
        np.testing.assert_array_equal(integers, edges[edge])
    assert list(edges) == ["input", "fc0", "fc0_threshold", "fc1"]
    assert edges["fc1"].shape == (50, 5)
    np.testing.assert_array_equal(emulator.graph.decode({"fc1": edges["fc1"]}), whole)


def test_inputs_of_several_floating_point_types_and_of_integers():
    emulator = Emulator(perceptron())
    frames = np.random.default_rng(1).integers(-20, 20, (10, 3, 4)) / 8
    for dtype in (np.float16, np.float32, np.float64):
        np.testing.assert_array_equal(emulator.run(frames.astype(dtype)), emulator.run(frames))
    emulator = Emulator(perceptron("UINT4"))
    frames = np.random.default_rng(1).integers(0, 16, (10, 3, 4))
    for dtype in (np.uint8, np.int64, np.float32):
        np.testing.assert_array_equal(emulator.run(frames.astype(dtype)), emulator.run(frames))


BAD = {
    "no batch": (None, np.zeros((3, 4), np.float32), r"input x takes frames of shape .*, not \(3, 4\); give \(1, 3"),
    "another shape": (None, np.zeros((5, 12), np.float32), r"\(N, 3, 4\), not \(5, 12\)"),
    "no frames": (None, np.zeros((0, 3, 4), np.float32), r"with at least one frame; these are none, \(0, 3, 4\)"),
    "integers": (None, np.full((5, 3, 4), 2**24 + 1), "takes float32 numbers; these int64 ones reach from 16777217 "),
    "words": (None, np.full((5, 3, 4), "a"), r"takes float32 numbers, not <U1"),
    "objects": (None, np.full((5, 3, 4), None), r"takes float32 numbers, not object"),
    "NaN": (None, np.full((5, 3, 4), np.nan, np.float32), r"holds NaN or infinity in frame 0"),
    "out of range": ("UINT4", np.full((5, 3, 4), 16), r"takes UINT4 integers; frame 0 holds 16"),
    "fractions": ("UINT4", np.full((5, 3, 4), 0.5), r"takes UINT4 integers; frame 0 holds 0.5"),
    "zero as bipolar": ("BIPOLAR", np.zeros((5, 3, 4), np.int8), r"takes BIPOLAR integers; frame 0 holds 0"),
    "another name": (None, {"y": np.zeros((5, 3, 4), np.float32)}, r"the model has the inputs x; given: y"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_frames_that_do_not_match_are_refused(what):
    dtype, frames, message = BAD[what]
    with pytest.raises(BitfabricError, match=message) as caught:
        Emulator(perceptron(dtype)).run(frames)
    assert caught.value.status == 2
    assert "\n" not in str(caught.value)
