"""Lookup networks in ONNX's own operators: every spelling is read as what ONNX Runtime computes."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from hw import finn
from hw.host.errors import BitfabricError
from hw.ir.graph import Graph
from hw.lowering.lower import lower, lower_model
from hw.simulation.emulator import Emulator
from hw.verification.layers import check_directed
from hw.verification.reference import Reference, compare_with, random_frames
from tests.builders.lookup_models import COMPARED, ENCODED, ENDS, SUMMED, LookupBuilder, LookupModel
from tests.lowering.operators.right import result

FLOAT, INT32, INT64, UINT8 = TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64, TensorProto.UINT8


@st.composite
def lookup_models(draw: st.DrawFn) -> LookupModel:
    """Networks of one to three layers of tables, in any spelling."""
    classes, signed = draw(st.integers(2, 4)), draw(st.booleans())
    layers = draw(st.lists(st.tuples(st.integers(1, 6), st.integers(2, 8)), min_size=1, max_size=3))
    return LookupModel(
        seed=draw(st.integers(0, 1 << 16)),
        features=draw(st.integers(1, 6)),
        levels=draw(st.integers(1, 4)),
        bits=draw(st.integers(2 if signed else 1, 8)),
        signed=signed,
        layers=tuple((classes * size, inputs) for size, inputs in layers),
        classes=classes,
        compared=draw(st.sampled_from(COMPARED)),
        encoded=draw(st.sampled_from(ENCODED)),
        summed=draw(st.sampled_from(SUMMED)),
        number=draw(st.sampled_from([FLOAT, INT32, INT64])),
        table_number=draw(st.sampled_from([FLOAT, INT32, INT64, UINT8, TensorProto.BOOL])),
        negative_axes=draw(st.booleans()),
        end=draw(st.sampled_from(ENDS)),
        image=draw(st.booleans()),
        temperature=draw(st.sampled_from([1.0, 3.0])),
        opset=draw(st.sampled_from([12, 13, 17, 21])),
    )


def lowered(model: onnx.ModelProto) -> Graph | None:
    """The graph of a model; None for one that is refused because its outputs are constant."""
    try:
        return lower(model)
    except BitfabricError as error:
        if "no output depends on any input" not in str(error):
            raise
        return None


def checked(model: onnx.ModelProto, frames: np.ndarray | None = None) -> list[str]:
    """The kernels of a model, whose graph equals its reference on frames and on directed inputs, to the last bit."""
    reference = Reference(model)
    lowering = lower_model(reference.model)
    graph = lowering.graph
    frames = random_frames(graph, 24) if frames is None else frames
    compared = compare_with(graph, lowering, reference, frames)
    assert compared.mismatches == 0
    directed = check_directed(graph, lowering, reference)
    assert (directed.explained, directed.left_out) == (0, ())
    return [node.kernel.op for node in graph]


@settings(deadline=None, max_examples=30)
@given(lookup_models())
def test_every_spelling_is_what_onnx_runtime_computes(spec):
    model, frames = spec.model(), spec.frames(24)
    onnx.checker.check_model(model)
    right = result(model, frames)
    graph = lowered(model)
    if graph is None:
        np.testing.assert_array_equal(right, np.broadcast_to(right[:1], right.shape))
        return
    got = np.asarray(Emulator(graph).run(frames))
    assert got.dtype == right.dtype
    np.testing.assert_array_equal(got, right)
    kernels = checked(model, frames)
    assert kernels[: 1 + len(spec.layers)] == ["thermometer", *["lookup_layer"] * len(spec.layers)]
    ends = {"bits": [], "scores": ["popcount_class"], "arg max": ["popcount_class", "arg_max"]}
    assert kernels[1 + len(spec.layers) :] == ends[spec.end]


# --- beside other layers ---


def builder(*shape: int, dtype: str = "UINT4", number: int = FLOAT, **spec) -> LookupBuilder:
    b = LookupBuilder((1, *shape), LookupModel(number=number, **spec))
    if dtype:
        b.annotate("x", dtype)
    return b


def dense(b: LookupBuilder, x: str, inputs: int, outputs: int) -> str:
    return b.node("MatMul", x, b.quant(b.rng.integers(-3, 4, (inputs, outputs)) * 0.25, 0.25, 4))


def voted(b: LookupBuilder, bits: str, count: int) -> onnx.ModelProto:
    """The model that ends in a layer of 12 tables and the scores of 3 classes."""
    return b.model((b.counted(b.layer(bits, count, 12, 4), 12), (1, 3), b.spec.number))


def signs(b: LookupBuilder, op: str) -> str:
    """Bits of the signs of a layer of 10 sums."""
    y = dense(b, b.quant("x", 0.25, 4), 5, 10)
    match op:
        case "BipolarQuant":
            return b.node("Mul", b.node("Add", b.node("BipolarQuant", y, 1.0), 1.0), 0.5)
        case "signed Quant":
            return b.node("Mul", b.node("Add", b.quant(y, 1.0, 1), 1.0), 0.5)
        case "unsigned Quant":
            return b.quant(y, 1.0, 1, signed=0)
        case _:
            return b.node("Cast", b.node(op, y, b.rng.normal(size=10)), to=FLOAT)


@pytest.mark.parametrize("op", ["BipolarQuant", "signed Quant", "unsigned Quant", "Greater", "LessOrEqual"])
def test_tables_read_the_signs_of_a_layer(op):
    b = builder(5, dtype="")
    assert checked(voted(b, signs(b, op), 10))[-2:] == ["lookup_layer", "popcount_class"]


@pytest.mark.parametrize("quantized", [True, False], ids=["codes", "sums"])
def test_levels_are_those_of_a_channel_that_falls_and_is_scaled(quantized):
    b = builder(5, dtype="", number=INT64, features=10)
    scale, bias, mean = (b.rng.normal(size=10) for _ in range(3))
    y = b.batch_norm(dense(b, b.quant("x", 0.25, 4), 5, 10), scale, bias, mean, np.ones(10))
    if quantized:
        y = b.quant(b.node("Relu", y), 0.1, 3, signed=0)
    features = b.rng.permutation(np.repeat(np.arange(10), 3))
    levels = b.rng.uniform(0, 0.7, 30) if quantized else b.rng.normal(size=30)
    bits = b.node("Cast", b.node("GreaterOrEqual", b.node("Gather", y, b.int64(features), axis=1), levels), to=INT64)
    assert "thermometer" in checked(voted(b, bits, 30))


def test_tables_before_a_dense_layer():
    b = builder(5, number=INT64)
    bits, count = b.encoder("x")
    y = dense(b, b.node("Cast", b.layer(bits, count, 12, 4), to=FLOAT), 12, 4)
    assert checked(b.model((b.quant(y, 0.5, 3), (1, 4)))) == [
        "thermometer",
        "lookup_layer",
        "matrix_vector",
        "threshold",
    ]


@pytest.mark.parametrize("number", [FLOAT, INT64])
def test_a_layer_reads_bits_of_several_layers(number):
    b = builder(5, number=number)
    bits, count = b.encoder("x")
    y = b.layer(bits, count, 12, 4)
    joined = b.node("Concat", y, bits, axis=1)
    assert checked(voted(b, joined, 12 + count)) == ["thermometer", "lookup_layer", "lookup_layer", "popcount_class"]


@pytest.mark.parametrize("compared", ["GreaterOrEqual", "Less"])
def test_a_count_reads_bits_of_all_layers(compared):
    b = builder(5, compared=compared)
    bits, count = b.encoder("x")
    first = b.layer(bits, count, 12, 4)
    second = b.layer(first, 12, 9, 5)
    third = b.layer(b.node("Concat", second, first, axis=1), 21, 6, 3)
    scores = b.counted(b.node("Concat", third, bits, second, first, axis=1), 27 + count)
    kernels = checked(b.model((scores, (1, 3))))
    assert kernels == ["thermometer", *["lookup_layer"] * (3 + (compared == "Less")), "popcount_class"]


def convolution(
    b: LookupBuilder, x: str, shape: tuple[int, int, int], size: int, stride: int, pad: int, outputs: int, inputs: int
) -> tuple[str, tuple[int, int, int]]:
    """A convolutional lookup layer of bits (C, H, W), as exporters write it: a table for each position."""
    channels, height, width = (n + 2 * pad * (axis > 0) for axis, n in enumerate(shape))
    if pad:
        x = b.node("Pad", x, b.int64([0, 0, pad, pad, 0, 0, pad, pad]))
    flat = b.node("Reshape", x, b.int64([-1, channels * height * width]))
    rows, columns = (height - size) // stride + 1, (width - size) // stride + 1
    places = np.arange(channels * height * width).reshape(channels, height, width)
    window = b.rng.permuted(np.tile(np.arange(channels * size**2), (outputs, 1)), axis=1)[:, :inputs]
    wires = np.array([
        places[:, r : r + size, c : c + size].ravel()[window]
        for r in range(0, rows * stride, stride)
        for c in range(0, columns * stride, stride)
    ])  # fmt: skip
    address = b.node("MatMul", b.node("Gather", flat, b.int64(wires), axis=1), 2.0 ** np.arange(inputs))
    address = b.node("Add", b.node("Cast", address, to=INT64), b.int64(np.arange(outputs) << inputs))
    made = b.node("Gather", b.constant(b.rng.integers(0, 2, outputs << inputs)), address)
    back = b.node("Transpose", b.node("Reshape", made, b.int64([-1, rows, columns, outputs])), perm=[0, 3, 1, 2])
    return back, (outputs, rows, columns)


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 1 << 16),
    channels=st.integers(1, 2),
    levels=st.integers(1, 2),
    size=st.integers(1, 3),
    stride=st.integers(1, 2),
    pad=st.integers(0, 1),
    compared=st.sampled_from(["GreaterOrEqual", "Less"]),
)
def test_tables_of_a_convolution_are_shared_by_its_windows(seed, channels, levels, size, stride, pad, compared):
    """Two convolutional layers; with zeros around the image that would be ones where bits are inverted, tables are not
    shared."""
    b = builder(channels, 6, 7, seed=seed)
    wide = b.node("Unsqueeze", "x", b.int64([2]))
    bits = b.node("Cast", b.node(compared, wide, b.rng.integers(2, 14, (channels, levels, 1, 1)) - 0.5), to=FLOAT)
    shape = channels * levels, 6, 7
    bits = b.node("Reshape", bits, b.int64([-1, *shape]))
    inputs = max(2, min(4, shape[0] * size**2))
    if shape[0] * size**2 < inputs:
        return
    y, shape = convolution(b, bits, shape, size, stride, pad, 3, inputs)
    y, shape = convolution(b, y, shape, 2, 1, 0, 3, 4)
    count = int(np.prod(shape))
    y = b.node("Flatten", y)
    model = b.model((b.layer(y, count, 12, 4), (1, 12)))
    graph = lowered(model)
    if graph is None:
        return
    checked(model)
    prefixes = [node.kernel.prefix for node in graph if node.kernel.op in ("thermometer", "lookup_layer")]
    if not pad or compared == "GreaterOrEqual":
        assert all(len(each) == 2 for each in prefixes[:3])
    assert prefixes[-1] == ()


@pytest.mark.parametrize("kind", [UINT8, TensorProto.INT8])
def test_integer_inputs_are_compared_as_they_are(kind):
    b = builder(5, dtype="", number=INT64, opset=16)
    b.inputs = [helper.make_tensor_value_info("x", kind, (1, 5))]
    levels = b.constant(b.rng.integers(0, 100, 5), helper.tensor_dtype_to_np_dtype(kind))
    bits = b.node("Cast", b.node("GreaterOrEqual", "x", levels), to=INT64)
    scores = b.counted(b.layer(bits, 5, 12, 4), 12)
    checked(b.model((scores, (1, 3), INT64), opset=16))


def test_finn_has_no_form_for_tables():
    b = builder(5)
    bits, count = b.encoder("x")
    with pytest.raises(BitfabricError, match=r"thermometer0 .*: FINN has no form for thermometer; use the open"):
        finn.write(lower(voted(b, bits, count)))


# --- parts that others write one by one ---


def gathered(b: LookupBuilder, bits: str, count: int, how: str) -> str:
    """Bits for 12 tables of 4 inputs, (N, 12, 4), or (N * 12, 4) if ``merged``."""
    wires = b.rng.integers(0, count, (12, 4))
    if how == "merged":
        return b.node("Reshape", b.node("Gather", bits, b.int64(wires.ravel()), axis=1), b.int64([-1, 4]))
    axis = 1 if how == "tables" else 2
    pieces = [b.node("Gather", bits, b.int64(each), axis=1) for each in np.split(wires, 2, axis=axis - 1)]
    return b.node("Concat", *pieces, axis=axis)


@pytest.mark.parametrize("how", ["tables", "inputs", "merged"])
@pytest.mark.parametrize("number", [FLOAT, INT64])
def test_wires_are_gathered_in_pieces_or_without_an_axis_of_tables(how, number):
    b = builder(5, number=number)
    bits, count = b.encoder("x")
    sums = b.node("MatMul", gathered(b, bits, count, how), b.constant([[1], [2], [4], [8]], b.dtype))
    sums = b.node("Add", b.node("Reshape", sums, b.int64([-1, 12])), b.constant(np.arange(12) << 4, b.dtype))
    address = b.node("Cast", sums, to=INT64)
    y = b.node("Gather", b.constant(b.rng.integers(0, 2, 12 << 4), b.dtype), address)
    kernels = checked(b.model((b.counted(y, 12), (1, 3), number)))
    assert kernels == ["thermometer", "lookup_layer", "popcount_class"]


@pytest.mark.parametrize("op", ["Gemm", "turned Gemm", "halved"])
def test_addresses_are_products_of_all_bits_with_a_matrix(op):
    b = builder(5)
    bits, count = b.encoder("x")
    matrix = np.zeros((count, 12))
    for column in matrix.T:
        column[b.rng.permutation(count)[:4]] = [1, 2, 4, 8]
    starts = np.arange(12) << 4
    match op:
        case "Gemm":
            address = b.node("Gemm", bits, matrix / 2, starts / 4, alpha=2.0, beta=4.0)
        case "turned Gemm":
            address = b.node("Gemm", bits, matrix.T, starts, transB=1)
        case _:
            address = b.node("Add", b.node("Div", b.node("MatMul", bits, 3 * matrix), 3.0), starts)
    y = b.node("Gather", b.constant(b.rng.integers(0, 2, 12 << 4)), b.node("Cast", address, to=INT64))
    assert checked(b.model((b.counted(y, 12), (1, 3)))) == ["thermometer", "lookup_layer", "popcount_class"]


@pytest.mark.parametrize("end", ["scores", "arg max"])
def test_classes_and_tables_one_by_one_are_one_layer_and_one_count(end):
    """Features, addresses and classes joined by Concat, tables of 2 to 5 inputs, classes of unequal size."""
    b = builder(5)
    features = b.node("Concat", *(b.node("Gather", "x", b.int64([i] * 3), axis=1) for i in (3, 0, 4)), axis=1)
    bits = b.node("Cast", b.node("Greater", features, b.rng.uniform(0, 15, 9)), to=FLOAT)
    addresses = []
    for number in range(12):
        inputs = 2 + number % 4
        taken = b.node("Gather", bits, b.int64(b.rng.integers(0, 9, inputs)), axis=1)
        addresses.append(b.node("Add", b.node("MatMul", taken, 2.0 ** np.arange(inputs)[:, None]), 32.0 * number))
    address = b.node("Cast", b.node("Concat", *addresses, axis=-1), to=INT64)
    y = b.node("Gather", b.constant(b.rng.integers(0, 2, 12 << 5)), address)
    ends = [b.node("Slice", y, b.int64([a]), b.int64([z]), b.int64([1])) for a, z in ((0, 2), (2, 7), (7, 12))]
    scores = b.node("Concat", *(b.node("ReduceSum", each, b.int64([1])) for each in ends), axis=1)
    model = b.model((scores, (1, 3)))
    if end == "arg max":
        model = b.model((b.node("ArgMax", scores, axis=1, keepdims=0), (1,), INT64))
    expected = ["thermometer", "lookup_layer", "popcount_class", *["arg_max"] * (end == "arg max")]
    assert checked(model) == expected
