"""Flipped bits of memories: the emulator gives what the RTL with the same bits flipped gives."""

import numpy as np
import pytest
from qonnx.core.datatype import DataType

from hw import simulate
from hw.errors import BitfabricError
from hw.graph import Graph, Node, Port
from hw.kernels.matrix_vector import MatrixVector
from hw.kernels.threshold import Threshold
from hw.rtl import generate
from hw.soft_errors import SoftErrors
from hw.synth.family import ECP5
from tests.hw.kernel_bench import alone, random_frames


def layer(weight: str, data: str, rng: np.random.Generator) -> MatrixVector:
    dtype = DataType[weight]
    values = rng.integers(int(dtype.min()), int(dtype.max()), (6, 8), endpoint=True)
    values = np.where(values < 0, -1, 1) if weight == "BIPOLAR" else values
    return MatrixVector(values, dtype, DataType[data], pe=2, simd=4)


def thresholds(rng: np.random.Generator, data: str, out: str, shared: bool = False) -> Threshold:
    low, high, steps = int(DataType[data].min()), int(DataType[data].max()), 1 if out == "BIPOLAR" else 3
    rows = np.sort(rng.integers(low, high + 1, (1 if shared else 6, steps), endpoint=True), axis=1)
    turned = np.zeros(6, bool) if shared else rng.random(6) < 0.4
    return Threshold(np.repeat(rows, 6 // len(rows), 0), turned, DataType[data], DataType[out], pe=2)


KERNELS = {
    "xnor": lambda rng: layer("BIPOLAR", "BIPOLAR", rng),
    "ternary inputs": lambda rng: layer("BIPOLAR", "TERNARY", rng),
    "signs by numbers": lambda rng: layer("BIPOLAR", "UINT4", rng),
    "ternary by numbers": lambda rng: layer("TERNARY", "INT6", rng),
    "few bits": lambda rng: layer("INT3", "INT8", rng),
    "multipliers": lambda rng: layer("INT8", "INT8", rng),
    "two bits": lambda rng: thresholds(rng, "INT7", "UINT2"),
    "sign": lambda rng: thresholds(rng, "INT5", "BIPOLAR"),
    "unsigned": lambda rng: thresholds(rng, "UINT4", "INT2"),
}


SLOW = {"ternary inputs", "few bits", "unsigned"}


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in KERNELS])
def test_a_damaged_layer_computes_what_its_rtl_computes(name: str) -> None:
    rng = np.random.default_rng(sum(map(ord, name)))
    graph = alone(KERNELS[name](rng))
    errors = SoftErrors(graph)
    frames = random_frames(graph.edges["in0"], 60, rng)
    whole = graph.execute({"in0": frames})["out0"]
    np.testing.assert_array_equal(errors.damaged([]).execute({"in0": frames})["out0"], whole)
    damaged = errors.random(min(6, errors.bits), rng)
    expected = damaged.execute({"in0": frames})["out0"]
    assert np.any(expected != whole)
    got = simulate.build(generate(damaged, ECP5)).run({"s": frames}).outputs["m"]
    np.testing.assert_array_equal(got, expected)


def network(rng: np.random.Generator) -> Graph:
    first, last = layer("BIPOLAR", "UINT4", rng), layer("INT3", "UINT2", rng)
    last = MatrixVector(last.weights[:, :6], last.weight_dtype, last.input_dtype)
    between = thresholds(rng, first.accumulator_dtype.name, "UINT2")
    nodes = (Node("a", first, ("x",), ("y",)), Node("b", between, ("y",), ("z",)), Node("c", last, ("z",), ("w",)))
    return Graph(nodes, (Port("x", "x", (8,), "UINT4"),), (Port("w", "w", (6,), "int64"),))


def test_bits_are_counted_and_flipped_layer_by_layer() -> None:
    rng = np.random.default_rng(5)
    graph = network(rng)
    errors = SoftErrors(graph)
    assert errors.layers["a"] == 48
    assert errors.bits == sum(errors.layers.values())
    assert errors.left_out == [] if "c" in errors.layers else errors.left_out == ["c"]
    first = errors.damaged([0, 47]).nodes[0].kernel
    assert isinstance(first, MatrixVector)
    assert np.argwhere(first.weights != graph.nodes[0].kernel.weights).tolist() == [[0, 0], [5, 7]]
    twice = errors.damaged([3, 3]).nodes[0].kernel
    assert isinstance(twice, MatrixVector)
    np.testing.assert_array_equal(twice.weights, graph.nodes[0].kernel.weights)
    assert errors.damaged([48]).nodes[0] is graph.nodes[0]
    with pytest.raises(BitfabricError, match="bits to flip; the memories have"):
        errors.random(errors.bits + 1, rng)
