"""FINN's dataflow dialect without FINN: what is written comes back, what has no form there is refused by name."""

import dataclasses
from importlib.metadata import EntryPoint, EntryPoints

import numpy as np
import onnx
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from qonnx.core.datatype import DataType

from hw import finn, plugins
from hw.finn.operators import streams
from hw.finn.table import FinnOperators
from hw.host.errors import BitfabricError
from hw.ir.graph import Graph, Node, Port
from hw.ir.kernel import Kernel
from hw.ir.stream import Stream
from hw.kernels.add.kernel import Add
from hw.kernels.concat.kernel import Concat
from hw.kernels.fifo.kernel import Fifo
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.requant.kernel import Requant
from hw.kernels.sliding_window.kernel import SlidingWindow
from hw.kernels.threshold.kernel import Threshold
from hw.lowering.lower import lower
from hw.passes.fifos import insert_fifos
from hw.passes.fold import apply_folding
from hw.passes.lanes import insert_width_converters
from tests.builders.networks import perceptron, random_weights
from tests.builders.random_images import RandomImages
from tests.builders.random_models import RandomModel

BIPOLAR = DataType["BIPOLAR"]


def differences(a: Kernel, b: Kernel) -> list[str]:
    """The fields in which two kernels differ."""
    assert type(a) is type(b)
    pairs = ((f.name, getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    return [name for name, x, y in pairs if not np.array_equal(x, y)]


def folded(graph: Graph, rng: np.random.Generator) -> Graph:
    """The graph with a random folding that FINN has, too."""
    table = {}
    for node in graph:
        choices = tuple(each for each in node.kernel.foldings() if each.pixels == 1)
        if isinstance(node.kernel, SlidingWindow):
            whole = node.kernel.channels * int(np.prod(node.kernel.kernel))
            choices = tuple(f for f in choices if f.simd <= node.kernel.channels or f.simd == whole)
        table[node.name] = choices[rng.integers(len(choices))]
    return apply_folding(graph, table)


def inner(graph: Graph) -> list[str]:
    """The edges between kernels."""
    return [edge for node in graph for edge in node.outputs if edge not in graph.output_edges]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), images=st.booleans(), connected=st.booleans())
@example(seed=7905353, images=True, connected=False)  # an image that only a dense layer reads
def test_round_trip(seed, images, connected):
    """File to graph to file is the same bytes; graph to file to graph are the same nodes, and do the same."""
    rng = np.random.default_rng(seed)
    source = RandomImages(rng, bool(seed % 2)) if images else RandomModel(rng, bool(seed % 2), seed % 5 == 0)
    try:
        graph = folded(lower(source.model()), rng)
        if connected:
            graph = insert_width_converters(graph)
            graph = insert_fifos(graph, dict.fromkeys(rng.permutation(inner(graph))[:3].tolist(), 5))
        adapted = finn.adapted(graph)
        written = finn.write(adapted)
    except BitfabricError:
        assume(False)
    back = finn.read(written)
    # Images of one row come back as signals.
    assume(not any(len(stream.shape) == 3 and stream.shape[0] == 1 for stream in adapted.edges.values()))
    assert finn.write(back).SerializeToString() == written.SerializeToString()
    assert [(node.name, node.outputs) for node in back] == [(node.name, node.outputs) for node in adapted]
    for mine, other in zip(adapted, back, strict=True):
        # Thresholds of popcounts and requants come back in another form of the same function.
        if not isinstance(mine.kernel, Requant):
            assert set(differences(mine.kernel, other.kernel)) <= {"thresholds"}
    x = source.frames(30)
    assume(len(graph.inputs) == 1)
    want = graph.decode(graph.execute(graph.encode(x)))
    for each in (adapted, back):
        got = each.decode(each.execute(each.encode(x)))
        np.testing.assert_array_equal(got, want)
        assert got.dtype == want.dtype


def test_parallelism_widths_and_fifos_stay(tmp_path):
    """A whole accelerator, folded, with width converters and FIFOs, through a file."""
    rng = np.random.default_rng(3)
    graph = perceptron(rng, [12, 8, 6, 4], [("UINT3", "INT4"), ("BIPOLAR", "BIPOLAR"), ("INT3", "TERNARY")], True)
    hardware = insert_width_converters(folded(finn.adapted(graph), rng))
    hardware = insert_fifos(hardware, {edge: 2 + i for i, edge in enumerate(inner(hardware))})
    path = tmp_path / "graph.onnx"
    onnx.save(finn.write(hardware), path)
    back = finn.read(path)
    assert back.lanes_agree()
    assert str(back) == str(hardware)
    assert [n.kernel.depth for n in back if isinstance(n.kernel, Fifo)] == [
        n.kernel.depth for n in hardware if isinstance(n.kernel, Fifo)
    ]


def _single(kernel: Kernel, name: str = "layer") -> Graph:
    ins = tuple(Port(f"in{i}", f"x{i}", s.shape, s.dtype.name) for i, s in enumerate(kernel.inputs()))
    out = kernel.outputs()[0]
    node = Node(name, kernel, tuple(port.edge for port in ins), ("y",))
    return Graph((node,), ins, (Port("out", "y", out.shape, "int32"),))


RNG = np.random.default_rng(0)
ROWS = np.sort(RNG.integers(-4, 5, (3, 2)), axis=1)
BITS = MatrixVector(random_weights(RNG, "BIPOLAR", (4, 8)), BIPOLAR, BIPOLAR)


@pytest.mark.parametrize(
    ("kernel", "words"),
    [
        (SlidingWindow((5, 5, 2), (3, 3), BIPOLAR, pad=((1, 1), (1, 1))), r"layer: it pads 1-bit \(BIPOLAR\)"),
        (
            SlidingWindow((5, 5, 2), (3, 3), DataType["UINT4"], pad=((1, 1), (1, 1)), pad_value=(3, 9)),
            "layer: it pads with 3, 9, and FINN's FMPadding with the integer 0; use quantizers without a zero point",
        ),
        (SlidingWindow((5, 5, 2), (3, 3), DataType["INT4"], simd=6), "layer: FINN takes 1 to 2 .* or a whole window"),
        (Concat(((4, 2), (4, 3)), (BIPOLAR, BIPOLAR)), "layer: FINN concatenates no 1-bit"),
        (Add((3, 3, 4), (DataType["INT4"],) * 2, pe=4, pixels=3), "layer: it takes 3 pixels at a time and FINN one"),
        (Add((4,), (DataType["INT4"],) * 2, (1, 3)), "layer: it adds 1 a \\+ 3 b"),
        (MatrixVector(ROWS, DataType["INT4"], DataType["BINARY"]), "layer: FINN has no layer for unsigned 1-bit"),
        (
            Threshold(ROWS, np.array([0, 1, 0], bool), DataType["INT4"], DataType["UINT2"], output_min=0),
            "layer: its output falls .* the input before it",
        ),
        (
            Requant(np.array([3]), np.array([0]), 1, "ROUND", DataType["INT8"], DataType["INT12"], -2048, 2047),
            "layer: FINN's Requant rounds half up .* \\(as for the input",
        ),
    ],
)
def test_refused_by_name(kernel, words):
    graph = _single(kernel)
    with pytest.raises(BitfabricError, match=words) as caught:
        finn.write(finn.adapted(graph))
    assert "\n" not in str(caught.value)


def test_popcounts_go_nowhere_else():
    nodes = (
        Node("fc", BITS, ("x",), ("fc",)),
        Node("requant", _requant(BITS.outputs()[0].dtype), ("fc",), ("requant",)),
    )
    graph = Graph(nodes, (Port("in", "x", (8,), "BIPOLAR"),), (Port("out", "requant", (4,), "int32"),))
    with pytest.raises(BitfabricError, match="requant: FINN's layer of 1-bit inputs and weights gives popcounts"):
        finn.write(graph)


def _requant(dtype) -> Requant:
    ones = np.ones(4, np.int64)
    return Requant(ones, 0 * ones, 0, "FLOOR", dtype, DataType["INT16"], -(2**15), 2**15 - 1)


@pytest.mark.parametrize("rounding", ["FLOOR", "CEIL", "ROUND", "HALF_UP"])
def test_requants_that_agree_come_back(rounding):
    """No input is a tie: all modes to the nearest round alike."""
    shift = 3 if rounding in ("ROUND", "HALF_UP") else 2
    addend = np.array([5, 7]) if shift == 2 else np.array([1, 3])
    multiplier = np.array([3, -5]) if shift == 2 else np.array([2, -6])
    kernel = Requant(multiplier, addend, shift, rounding, DataType["INT10"], DataType["INT9"], -256, 255)
    x = np.arange(-512, 512)[:, None].repeat(2, 1)
    back = finn.read(finn.write(_single(kernel))).nodes[0].kernel
    np.testing.assert_array_equal(back.execute(x)[0], kernel.execute(x)[0])


def test_files_of_others_are_refused(tmp_path):
    model = finn.write(_single(MatrixVector(ROWS, DataType["INT4"], DataType["INT2"])))
    model.graph.node[1].op_type = "Shuffle"
    with pytest.raises(BitfabricError, match="layer: there is no kernel for FINN's Shuffle"):
        finn.read(model)
    plain = onnx.helper.make_model(onnx.helper.make_graph([], "empty", [], []))
    with pytest.raises(BitfabricError, match="no layer of FINN's") as caught:
        finn.read(plain)
    assert caught.value.status == 2


class Elastic(Fifo):
    """A kernel of another package."""


ELASTIC = FinnOperators(
    reads={"Elastic": streams.OPERATORS.reads["StreamingFIFO"]},
    writes={Elastic: lambda w, node: w.add_layer(node, "Elastic", elastic_attributes(node.kernel))},
)


def elastic_attributes(kernel: Kernel) -> dict:
    shape = [1, *kernel.stream.shape]
    return {"depth": 4, "folded_shape": shape, "normal_shape": shape, "dataType": kernel.stream.dtype.name}


@pytest.fixture
def elastic() -> Graph:
    stream = Stream((3,), DataType["INT4"], 3)
    node = Node("wait", Elastic(stream, 4), ("in",), ("out",))
    return Graph((node,), (Port("x", "in", (3,), "INT4", ()),), (Port("y", "out", (3,), "float32", ()),))


def test_a_package_adds_an_operator(elastic, monkeypatch):
    with pytest.raises(BitfabricError, match="wait: FINN has no form for fifo"):
        finn.write(elastic)
    entry = EntryPoint("Elastic", f"{__name__}:ELASTIC", "bitfabric.finn")
    monkeypatch.setattr(plugins, "_group", lambda group, path: EntryPoints([entry]))
    (back,) = finn.read(finn.write(elastic))
    assert back.name == "wait"
    assert isinstance(back.kernel, Fifo)
    assert (back.kernel.stream, back.kernel.depth) == (Stream((3,), DataType["INT4"], 3), 4)


def test_an_entry_point_of_another_kind_is_named(elastic, monkeypatch):
    entry = EntryPoint("Elastic", f"{__name__}:elastic_attributes", "bitfabric.finn")
    monkeypatch.setattr(plugins, "_group", lambda group, path: EntryPoints([entry]))
    with pytest.raises(BitfabricError, match=r"^Elastic: the entry point of bitfabric\.finn is no FinnOperators"):
        finn.write(elastic)
