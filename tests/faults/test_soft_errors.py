"""Flipped bits of memories: the emulator gives what the RTL with the same bits of its memory files flipped gives."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from qonnx.core.datatype import DataType

from hw.families.ecp5 import ECP5
from hw.faults.soft_errors import SoftErrors
from hw.host.errors import BitfabricError
from hw.ir.graph import Graph, Node, Port
from hw.ir.kernel import Kernel
from hw.ir.stream import decode
from hw.kernels.accumulate_pool.kernel import AccumulatePool
from hw.kernels.add.kernel import Add
from hw.kernels.constant_matrix.kernel import ConstantMatrix
from hw.kernels.constant_network.cases import named, quantizer
from hw.kernels.constant_network.kernel import ConstantNetwork
from hw.kernels.depthwise.kernel import Depthwise
from hw.kernels.folded_lookup_network.cases import cases as folded_networks
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.requant.kernel import Requant
from hw.kernels.shared.random_parameters import weights
from hw.kernels.sparse_matrix_vector.cases import balanced
from hw.kernels.sparse_matrix_vector.kernel import SparseMatrixVector
from hw.kernels.threshold.kernel import Threshold
from hw.lowering.lower import lower
from hw.passes.fifos import insert_fifos
from hw.passes.lanes import insert_width_converters
from hw.rtl.design import RtlDesign, generate
from hw.simulation import verilator
from hw.timing.fifo_sizing import size_fifos
from tests.builders.random_images import RandomImages
from tests.kernels.kernel_bench import alone
from tests.kernels.test_matrix_vector import weights_of

Make = Callable[[np.random.Generator], Kernel]


def layer(weight: str, data: str, given: tuple[int, int] | None = None, simd: int = 4, pixels: int = 1) -> Make:
    def make(rng: np.random.Generator) -> Kernel:
        pe, prefix = (6, (2,)) if pixels > 1 else (2, ())
        matrix = weights_of(weight, (6, 8), rng)
        return MatrixVector(matrix, DataType[weight], DataType[data], prefix, pe, simd, given, pixels)

    return make


def sparse(weight: str, data: str, given: tuple[int, int] | None = None) -> Make:
    """Banks of 3 columns, which 2 bits address."""

    def make(rng: np.random.Generator) -> Kernel:
        matrix = balanced(rng, weight, (6, 12), 2, 4, 1)
        matrix[2:4, 4] = matrix[2, 0]  # the groups differ in their number of firings
        return SparseMatrixVector(matrix, DataType[weight], DataType[data], (), 2, 4, given)

    return make


def depthwise(weight: str, data: str, given: tuple[int, int] | None = None, pe: int = 2, pixels: int = 1) -> Make:
    def make(rng: np.random.Generator) -> Kernel:
        weights = weights_of(weight, (4, 6), rng)
        return Depthwise(weights, DataType[weight], DataType[data], (2,), pe, given, pixels)

    return make


def thresholds(data: str, out: str, steps: int, falling: float = 0.4, shared: bool = False, pixels: int = 1) -> Make:
    def make(rng: np.random.Generator) -> Kernel:
        low, high = int(DataType[data].min()), int(DataType[data].max())
        rows = np.sort(rng.integers(low, high + 1, (1 if shared else 6, steps), endpoint=True), axis=1)
        turned = np.full(6, falling == 1) if shared else rng.random(6) < falling
        rows, least = np.repeat(rows, 6 // len(rows), 0), int(DataType[out].min())
        types = DataType[data], DataType[out]
        return Threshold(rows, turned, *types, (2,), 2 if pixels == 1 else 6, None if steps == 3 else least, pixels)

    return make


def requant(data: str, most: int, pe: int = 2, pixels: int = 1, rounding: str = "ROUND") -> Make:
    def make(rng: np.random.Generator) -> Kernel:
        multiplier, addend = rng.integers(-most, most, (2, 6), endpoint=True)
        parameters = (multiplier if most > 1 else np.ones(6, int), addend, 5, rounding)
        return Requant(*parameters, DataType[data], DataType["INT8"], -100, 127, (2,), pe, pixels)

    return make


def powers(data: str, most: int, pe: int = 2, rounding: str = "ROUND") -> Make:
    def make(rng: np.random.Generator) -> Kernel:
        multiplier = rng.choice([-1, 1], 6) << rng.integers(0, most, 6, endpoint=True) + 1
        parameters = (multiplier, rng.integers(-50, 50, 6), 4, rounding)
        return Requant(*parameters, DataType[data], DataType["INT8"], -100, 127, (2,), pe)

    return make


def fixed(kernel: Kernel) -> Make:
    return lambda rng: kernel


def tables(case: str) -> Make:
    return fixed(dict(folded_networks())[case])


def network_in_logic(rng: np.random.Generator) -> ConstantNetwork:
    """A product, thresholds on its sums, and a product of them, as one pipeline."""
    first = ConstantMatrix(layer("INT4", "INT8", (-10, 5))(rng))
    shape, codes = first.outputs()[0].shape, DataType["UINT3"]
    steps = quantizer(rng, first.outputs()[0].dtype, codes, shape[-1], shape[:-1])
    last = MatrixVector(weights(rng, "INT3", (4, shape[-1])), DataType["INT3"], codes, shape[:-1])
    return named(first, steps, ConstantMatrix(last))


KERNELS: dict[str, Make] = {
    "xnor": layer("BIPOLAR", "BIPOLAR"),
    "ternary_inputs": layer("BIPOLAR", "TERNARY"),
    "signs_by_numbers": layer("BIPOLAR", "UINT4"),
    "ternary_by_numbers": layer("TERNARY", "INT6", (-3, 3), 2),
    "few_bits": layer("INT3", "INT8", (-10, 5)),
    "unsigned_few_bits": layer("UINT2", "INT9", None, 1),
    "multipliers": layer("INT8", "INT8"),
    "numbers_by_signs": layer("INT5", "BIPOLAR"),
    "ternary_by_signs": layer("TERNARY", "BIPOLAR", None, 1),
    "numbers_by_few_bits": layer("INT8", "UINT2", (0, 2)),
    "numbers_by_ternary": layer("INT8", "TERNARY", None, 1),
    "several_pixels": layer("INT7", "INT3", None, 8, 2),
    "sparse_few_bits": sparse("INT3", "INT8", (-10, 5)),
    "sparse_numbers_by_signs": sparse("INT5", "BIPOLAR"),
    "sparse_numbers_by_few_bits": sparse("INT8", "UINT2", (0, 2)),
    "sparse_multipliers": sparse("INT8", "INT8"),
    "depthwise_signs": depthwise("BIPOLAR", "UINT3"),
    "depthwise_ternary": depthwise("TERNARY", "INT5", (-3, 2)),
    "depthwise_few_bits": depthwise("INT3", "INT5", None, 4, 3),
    "depthwise_inputs_apart": depthwise("INT6", "TERNARY"),
    "depthwise_multipliers": depthwise("INT8", "UINT8", None, 4, 12),
    "two_bits": thresholds("INT7", "UINT2", 3),
    "sign": thresholds("INT5", "BIPOLAR", 1),
    "unsigned": thresholds("UINT4", "INT2", 3, 0),
    "three_levels": thresholds("INT6", "TERNARY", 2),
    "shared": thresholds("INT6", "UINT2", 3, 0, shared=True),
    "shared_falling": thresholds("INT6", "UINT2", 2, 1, shared=True),
    "falling": thresholds("UINT6", "UINT2", 3, 1),
    "thresholds_of_pixels": thresholds("INT5", "UINT2", 3, 0.5, pixels=2),
    "requant": requant("INT12", 50),
    "requant_of_signs": requant("BIPOLAR", 100, 3, rounding="HALF_UP"),
    "requant_without_factors": requant("INT12", 1, rounding="CEIL"),
    "requant_of_pixels": requant("UINT9", 30, 6, 2, "DOWN"),
    "requant_by_powers": powers("INT10", 2),
    "unsigned_by_powers": powers("UINT7", 3, 3, "DOWN"),
    "requant_by_signs": powers("INT9", 0, 6, "HALF_UP"),
    "wide_requant": requant("INT32", 1 << 29),
    "sum": fixed(Add((6,), (DataType["INT4"], DataType["UINT3"]), (2, -3), 2, ((-3, 2), (0, 4)))),
    "pool": fixed(AccumulatePool((4, 4, 3), (2, 2), DataType["UINT3"], input_range=(0, 4))),
    "in_logic": lambda rng: ConstantMatrix(layer("INT4", "INT8", (-10, 5))(rng)),
    "network_in_logic": network_in_logic,
}
"""Every kernel with memories, and those whose sums are made for a range of inputs that damaged layers may leave."""
TABLES: dict[str, Make] = {
    name: tables(name) for name in ("classifier", "positions", "outputs", "signed", "sums", "signs", "layers")
}
"""Folded lookup networks, of whose bits many are without an effect."""
WITHOUT_MEMORY = {"sum", "pool", "in_logic", "network_in_logic"}


def side_by_side(made: dict[str, Kernel]) -> Graph:
    """Kernels without any edge between them, in one design."""
    nodes = []
    for name, kernel in made.items():
        ins = tuple(f"{name}_in{i}" for i in range(len(kernel.inputs())))
        nodes.append(Node(name, kernel, ins, (f"{name}_out",)))
    ports: dict[bool, list[Port]] = {True: [], False: []}
    for node in nodes:
        for given, edges, streams in (
            (True, node.inputs, node.kernel.inputs()),
            (False, node.outputs, node.kernel.outputs()),
        ):
            ports[given] += [Port(e, e, s.shape, s.dtype.name) for e, s in zip(edges, streams, strict=True)]
    return Graph(tuple(nodes), tuple(ports[True]), tuple(ports[False]))


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))])
def test_damaged_layers_compute_what_their_rtl_computes(seed: int) -> None:
    errors, changed = compared(KERNELS, np.random.default_rng(seed), 5)
    assert set(KERNELS) - set(errors.layers) == WITHOUT_MEMORY
    assert changed > len(KERNELS) - len(WITHOUT_MEMORY) - 2


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))])
def test_damaged_tables_compute_what_their_rtl_computes(seed: int) -> None:
    errors, changed = compared(TABLES, np.random.default_rng(seed), 20)
    assert set(errors.layers) == set(TABLES)
    assert changed > len(TABLES) - 3


def compared(makes: dict[str, Make], rng: np.random.Generator, count: int) -> tuple[SoftErrors, int]:
    """Flip ``count`` bits of each kernel and compare the emulator with the RTL; the number of changed outputs."""
    graph = side_by_side({name: make(rng) for name, make in makes.items()})
    errors = SoftErrors(graph)
    assert errors.left_out == []
    frames = {}
    for port in graph.inputs:  # every code, of a number or not
        stream = graph.edges[port.edge]
        codes = rng.integers(0, 1 << stream.dtype.bitwidth(), (40, *stream.shape), dtype=np.uint64)
        frames[port.edge] = decode(codes, stream.dtype)
    flips, first = [], 0
    for bits in errors.layers.values():
        flips += (first + rng.choice(bits, min(count, bits), replace=False)).tolist()
        first += bits
    damaged = errors.damaged(flips)
    expected, whole = damaged.execute(frames), errors.damaged([0, 0]).execute(frames)
    design = generate(damaged, ECP5)
    names = dict(zip((port.edge for port in graph.inputs), design.inputs, strict=True))
    outs = dict(zip((port.edge for port in graph.outputs), design.outputs, strict=True))
    got = verilator.build(design).run({names[edge]: values for edge, values in frames.items()}).outputs
    for edge, port in outs.items():
        np.testing.assert_array_equal(got[port], expected[edge], err_msg=edge)
    return errors, sum(int(np.any(expected[edge] != whole[edge])) for edge in expected)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [100, 114, 118, 119, 127])
def test_damaged_networks_compute_what_their_rtl_computes(seed: int) -> None:
    """What a damaged layer hands on goes through all kinds of kernels as it does in hardware."""
    rng = np.random.default_rng(seed)
    network = RandomImages(rng, dyadic=True)
    connected = insert_width_converters(lower(network.model()))
    hardware = insert_fifos(connected, size_fifos(connected))
    errors = SoftErrors(hardware)
    frames = hardware.encode(network.frames(6))
    damaged = errors.random(max(3, errors.bits // 20), rng)
    ((edge, expected),) = damaged.execute(frames).items()
    design = generate(damaged, ECP5)
    got = verilator.build(design).run({"s": frames[hardware.inputs[0].edge]}).outputs["m"]
    np.testing.assert_array_equal(got, expected, err_msg=edge)


def contents(design: RtlDesign) -> dict[str, list[int]]:
    return {name: [int(word, 16) for word in text.split()] for name, text in design.files.items() if ".hex" in name}


@pytest.mark.parametrize("name", [name for name in KERNELS if name not in WITHOUT_MEMORY])
def test_each_flip_is_one_bit_of_a_memory_file(name: str) -> None:
    rng = np.random.default_rng(7)
    kernel = KERNELS[name](rng)
    errors = SoftErrors(alone(kernel))
    whole = generate(errors.graph, ECP5)
    words = contents(whole)
    memories = [each if isinstance(each, tuple) else (each,) for each in kernel.rtl(ECP5).memories.values()]
    assert errors.bits == sum(len(each.words) * each.width for made in memories for each in made)
    found = set()
    picked = rng.choice(errors.bits, min(30, errors.bits), replace=False)
    for flip in picked:
        design = generate(errors.damaged([flip]), ECP5)
        other = contents(design)
        changed = [
            (f, i, a ^ b) for f in words for i, (a, b) in enumerate(zip(words[f], other[f], strict=True)) if a != b
        ]
        assert len(changed) == 1
        assert changed[0][2].bit_count() == 1
        found.add(changed[0])
        rest = [{f: text for f, text in each.files.items() if ".hex" not in f} for each in (whole, design)]
        assert rest[0] == rest[1]
    assert len(found) == len(picked)
    again = generate(errors.damaged([*picked, *picked]), ECP5)
    assert again.files == whole.files


def network(rng: np.random.Generator) -> Graph:
    first, last = layer("BIPOLAR", "UINT4")(rng), layer("INT3", "UINT2")(rng)
    last = replace(last, weights=last.weights[:, :6], simd=1)
    between = thresholds(first.accumulator_dtype.name, "UINT2", 3)(rng)
    between = replace(between, prefix=())
    nodes = (Node("a", first, ("x",), ("y",)), Node("b", between, ("y",), ("z",)), Node("c", last, ("z",), ("w",)))
    return Graph(nodes, (Port("x", "x", (8,), "UINT4"),), (Port("w", "w", (6,), "int64"),))


def test_bits_are_counted_and_flipped_layer_by_layer() -> None:
    rng = np.random.default_rng(5)
    graph = network(rng)
    errors = SoftErrors(graph)
    assert list(errors.layers) == ["a", "b", "c"]
    assert errors.layers["a"] == 48
    assert errors.bits == sum(errors.layers.values())
    first = errors.damaged([0, 47]).nodes[0].kernel
    assert isinstance(first, MatrixVector)
    assert np.argwhere(first.weights != graph.nodes[0].kernel.weights).tolist() == [[0, 0], [5, 7]]
    assert errors.damaged([48]).nodes[0] is graph.nodes[0]
    assert errors.damaged([]) == graph
    with pytest.raises(BitfabricError, match="bits to flip; the memories have"):
        errors.random(errors.bits + 1, rng)
    with pytest.raises(BitfabricError, match="no weight or threshold memory"):
        SoftErrors(alone(KERNELS["sum"](rng)))
