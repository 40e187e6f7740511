"""Thermometers of several comparisons, which a Concat joins, are one encoder."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from hw.lowering.lower import lower
from hw.simulation.emulator import Emulator
from tests.builders.lookup_models import LookupBuilder, LookupModel
from tests.lowering.operators.right import result
from tests.lowering.test_lookup_networks import builder, checked, dense, lowered, voted

FLOAT, BOOL, INT64 = TensorProto.FLOAT, TensorProto.BOOL, TensorProto.INT64
OPERATORS = ("GreaterOrEqual", "Greater", "Less", "LessOrEqual")
JOINED = ("features", "features in pairs", "last axis", "channels", "columns")
"""How the results are joined: ``columns`` compares the features one by one."""


@dataclass(frozen=True)
class Level:
    """One comparison of all features with a number, or with one for each."""

    op: str
    by_feature: bool
    level_first: bool
    inverted: bool


@st.composite
def levels(draw: st.DrawFn) -> Level:
    return Level(draw(st.sampled_from(OPERATORS)), *(draw(st.booleans()) for _ in range(3)))


def thermometer(b: LookupBuilder, x: str, spellings: list[Level], how: str, kind: int, flat: str) -> tuple[str, int]:
    """Bits of the features of ``x`` (1, 2, 3), and how many there are."""
    count = 6
    if how == "columns":
        columns = b.node("Reshape", x, b.int64([-1, count]))
        columns = [b.node("Gather", columns, b.int64([i]), axis=1) for i in b.rng.permutation(count)]
        operands = [(each, 1) for each in columns for _ in spellings]
        spellings = spellings * count
    else:
        shared = b.node("Reshape", x, b.int64([-1, count])) if flat == "once" else ""
        operands = [(shared or b.node("Flatten", x) if flat else x, count) for _ in spellings]
    bits = []
    for (y, size), each in zip(operands, spellings, strict=True):
        shape = ((size,) if flat or how == "columns" else (2, 3)) if each.by_feature else ()
        number = b.constant(b.rng.integers(-2, 34, shape) / 2)
        y = b.node(each.op, number, y) if each.level_first else b.node(each.op, y, number)
        if each.inverted and (kind == BOOL or b.rng.integers(2)):
            y = b.node("Not", y)
            each = None
        if kind != BOOL:
            y = b.node("Cast", y, to=kind)
        if each is not None and each.inverted:
            y = b.node("Sub", b.constant(1, helper.tensor_dtype_to_np_dtype(kind)), y)
        bits.append(y)
    if how == "last axis":
        rank = 2 if flat else 3
        bits = [b.node("Unsqueeze", each, b.int64([rank])) for each in bits]
        whole = b.node("Concat", *bits, axis=-1)
    elif how == "channels" and not flat:
        whole = b.node("Concat", *[b.node("Unsqueeze", each, b.int64([1])) for each in bits], axis=1)
    elif how == "features in pairs":
        whole = b.node("Concat", *bits[:2], axis=1)
        for each in bits[2:]:
            whole = b.node("Concat", whole, each, axis=1)
    else:
        whole = b.node("Concat", *bits, axis=1)
    total = count * (len(spellings) // (count if how == "columns" else 1))
    whole = b.node("Reshape", whole, b.int64([-1, total]))
    return (b.node("Cast", whole, to=b.spec.number) if kind != b.spec.number else whole), total


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 1 << 16),
    spellings=st.lists(levels(), min_size=2, max_size=4),
    how=st.sampled_from(JOINED),
    kind=st.sampled_from([FLOAT, BOOL, INT64, TensorProto.DOUBLE]),
    flat=st.sampled_from(["", "once", "each"]),
)
def test_joined_comparisons_are_one_encoder(seed, spellings, how, kind, flat):
    b = builder(2, 3, seed=seed, number=INT64)
    bits, count = thermometer(b, "x", spellings, how, kind, flat)
    model = voted(b, bits, count)
    frames = np.random.default_rng(seed).integers(0, 16, (24, 2, 3)).astype(np.float32)
    graph = lowered(model)
    if graph is None:
        return
    np.testing.assert_array_equal(np.asarray(Emulator(graph).run(frames)), result(model, frames))
    assert checked(model, frames) == ["thermometer", "lookup_layer", "popcount_class"]


def test_joined_comparisons_take_a_frame_a_cycle():
    b = builder(5, number=FLOAT)
    bits = [b.node("Cast", b.node("GreaterOrEqual", "x", float(level)), to=FLOAT) for level in (3, 6, 9)]
    graph = lower(voted(b, b.node("Concat", *bits, axis=1), 15))
    assert [node.kernel.op for node in graph] == ["thermometer", "lookup_layer", "popcount_class"]
    assert graph.nodes[0].kernel.outputs()[0].shape == (15,)


@pytest.mark.parametrize("shared", [True, False])
def test_joined_comparisons_of_an_image_are_read_by_windows(shared):
    b = builder(2, 4, 4)
    steps = [b.rng.integers(2, 14, (2, 1, 1)) - 0.5 for _ in range(3)]
    bits = b.node("Cast", b.node("Concat", *(b.node("Greater", "x", each) for each in steps), axis=1), to=FLOAT)
    flat = b.node("Flatten", bits)
    if not shared:
        assert checked(voted(b, flat, 96)) == ["thermometer", "lookup_layer", "popcount_class"]
        return
    places = np.arange(96).reshape(6, 4, 4)
    window = b.rng.permuted(np.tile(np.arange(24), (3, 1)), axis=1)[:, :4]
    wires = [places[:, r : r + 2, c : c + 2].ravel()[window] for r in range(3) for c in range(3)]
    address = b.node("MatMul", b.node("Gather", flat, b.int64(wires), axis=1), 2.0 ** np.arange(4))
    address = b.node("Add", b.node("Cast", address, to=INT64), b.int64(np.arange(3) << 4))
    y = b.node("Gather", b.constant(b.rng.integers(0, 2, 48)), address)
    model = b.model((b.layer(b.node("Flatten", y), 27, 12, 4), (1, 12)))
    assert checked(model)[0] == "thermometer"
    assert lower(model).nodes[0].kernel.prefix == (4, 4)


def test_comparisons_of_other_features_are_an_encoder_each():
    b = builder(5, dtype="")
    first = b.quant("x", 0.25, 4, signed=0)
    second = b.quant(dense(b, first, 5, 5), 0.5, 4)
    bits = [b.node("Cast", b.node("Greater", each, 1.0), to=FLOAT) for each in (first, second)]
    kernels = checked(voted(b, b.node("Concat", *bits, axis=1), 10))
    assert kernels.count("thermometer") == 2


@pytest.mark.parametrize("axes", ["left out", "empty"])
def test_a_sum_over_no_axis_is_the_identity(axes):
    b = LookupBuilder((1, 5), LookupModel(number=INT64))
    b.annotate("x", "UINT4")
    bits, count = b.encoder("x")
    given = [b.int64([])] if axes == "empty" else []
    bits = b.node("ReduceSum", bits, *given, keepdims=0, noop_with_empty_axes=1)
    assert checked(voted(b, bits, count)) == ["thermometer", "lookup_layer", "popcount_class"]
