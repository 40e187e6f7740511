"""Types within a model: casts are computed as the reference computes them, or refused by name."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from hw.host.errors import BitfabricError
from hw.lowering.lower import lower
from hw.simulation.emulator import Emulator
from hw.verification.reference import Reference, compare
from tests.builders.qonnx_builder import Builder

TYPES = {"float16": TensorProto.FLOAT16, "float64": TensorProto.DOUBLE}


def in_type(b, x, name, rng, count):
    """A chain of ``count`` random element-wise operators in another type, between casts to it and back to float32."""
    x = b.node("Cast", x, to=TYPES[name])
    for _ in range(count):
        op = str(rng.choice(["Add", "Mul", "Div", "Relu", "Clip", "Neg", "Sub"]))
        if op == "Clip":
            x = b.node(op, x, *(b.constant(bound, name) for bound in (-1.3, 1.7)))
        elif op in ("Relu", "Neg"):
            x = b.node(op, x)
        else:
            x = b.node(op, x, b.constant(rng.uniform(0.3, 1.5), name))
    return b.node("Cast", x, to=TensorProto.FLOAT)


def sums(b, rng, scale=2.0**-4, outputs=3):
    """Sums that float32 holds exactly."""
    weights = b.quant(rng.integers(-7, 8, (8, outputs)) / 8, 2.0**-3, 4)
    return b.node("MatMul", b.quant("x", scale, 8), weights)


def equal(model, frames):
    graph = lower(model)
    np.testing.assert_array_equal(Emulator(graph).run(frames), Reference(model).run(frames))
    compared = compare(graph, model, frames)
    assert compared.mismatches == 0, compared.describe()
    return graph


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(sorted(TYPES)), st.integers(0, 3), st.booleans())
def test_chains_with_casts_equal_the_reference(seed, name, count, quantized):
    """Rounding to float16 is part of the function of one integer whose decision points a threshold holds;
    at an output the host computes it."""
    rng = np.random.default_rng(seed)
    b = Builder((1, 8))
    x = b.node("Mul", sums(b, rng), float(rng.uniform(0.5, 1.5)))
    x = in_type(b, x, name, rng, count)
    if quantized:
        x = b.quant(x, float(rng.uniform(0.1, 1)), int(rng.integers(2, 6)))
        x = b.node("MatMul", x, b.quant(np.eye(3), 1.0, 2))
    equal(b.model((x, (1, 3))), (rng.integers(-128, 128, (500, 8)) / 16).astype(np.float32))


def test_the_published_case():
    """A Cast to float16 and back, which was once taken for nothing: 91 of 20,000 frames of this network differed."""
    rng = np.random.default_rng(10)
    b = Builder((1, 8))
    x = b.node("MatMul", b.quant("x", 2.0**-4, 8), b.quant(rng.integers(-7, 8, (8, 3)) / 8, 2.0**-3, 4))
    x = b.node("Mul", x, float(rng.uniform(0.5, 1.5)))
    x = b.node("Cast", b.node("Cast", x, to=TensorProto.FLOAT16), to=TensorProto.FLOAT)
    x = b.quant(x, float(rng.uniform(0.5, 1)), int(rng.choice([2, 3, 4])))
    frames = (np.random.default_rng(11).integers(-128, 128, (20000, 8)) / 16).astype(np.float32)
    equal(b.model((b.node("MatMul", x, b.quant(np.eye(3), 1.0, 2)), (1, 3))), frames)


@pytest.mark.parametrize("elem_type", [TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_inputs_of_other_types(elem_type):
    """The host computes up to the first quantizer in the input's own type."""
    rng = np.random.default_rng(3)
    b = Builder((1, 8), elem_type=elem_type)
    dtype = "float16" if elem_type == TensorProto.FLOAT16 else "float64"
    x = b.node("Add", b.node("Mul", "x", b.constant(0.3, dtype)), b.constant(0.1, dtype))
    if dtype == "float16":
        x = b.node("Cast", x, to=TensorProto.FLOAT)
    x = b.node("MatMul", b.quant(x, 2.0**-4, 6), b.quant(rng.integers(-7, 8, (8, 3)), 1.0, 4))
    frames = rng.normal(size=(3000, 8)).astype(np.float32)
    equal(b.model((b.quant(x, 2.0, 4), (1, 3))), frames)


def test_a_quantizer_with_a_scale_of_float64_computes_in_float64():
    rng = np.random.default_rng(4)
    b = Builder((1, 8))
    x = b.node("Mul", sums(b, rng), 0.37)
    x = b.node("Quant", x, b.constant(0.1, np.float64), 0.0, 5.0, signed=1, narrow=0, rounding_mode="ROUND")
    x = b.node("MatMul", x, b.quant(np.eye(3), 1.0, 2))
    equal(b.model((x, (1, 3))), (rng.integers(-128, 128, (3000, 8)) / 16).astype(np.float32))


@pytest.mark.parametrize("name", sorted(TYPES))
def test_casts_that_change_no_value_cost_nothing(name):
    """Codes of few bits times a power of two are the same in every type, so a layer may follow at once."""
    rng = np.random.default_rng(5)
    b = Builder((1, 8))
    x = b.quant(sums(b, rng), 0.25, 5)
    x = b.node("MatMul", in_type(b, x, name, rng, 0), b.quant(rng.integers(-7, 8, (3, 2)), 1.0, 4))
    graph = equal(b.model((x, (1, 2))), (rng.integers(-128, 128, (500, 8)) / 16).astype(np.float32))
    assert [node.kernel.op for node in graph] == ["matrix_vector", "requant", "matrix_vector"]


def test_pools_and_joins_keep_the_type_of_their_data():
    """A MaxPool on float16 leaves float16: the multiplication after it rounds to it."""
    rng = np.random.default_rng(6)
    b = Builder((1, 2, 4, 4))
    x = b.node("Cast", b.quant("x", 0.07, 6), to=TensorProto.FLOAT16)
    x = b.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = b.node("Cast", b.node("Mul", x, b.constant(0.33, np.float16)), to=TensorProto.FLOAT)
    x = b.quant(x, 0.05, 5)
    equal(b.model((x, (1, 2, 2, 2))), rng.normal(size=(500, 2, 4, 4)).astype(np.float32))


def _bfloat16(b):
    return b.node("Cast", b.node("Cast", b.quant("x", 0.5, 4), to=TensorProto.BFLOAT16), to=TensorProto.FLOAT)


def _rounded_input(b):
    x = b.node("Cast", b.node("Cast", b.quant("x", 0.1, 4), to=TensorProto.FLOAT16), to=TensorProto.FLOAT)
    return b.node("MatMul", x, b.quant(np.ones((8, 3)), 1.0, 4))


def _float16_layer(b):
    x = b.node("Cast", b.quant("x", 0.5, 4), to=TensorProto.FLOAT16)
    return b.node("Cast", b.node("MatMul", x, b.constant(np.ones((8, 3)), np.float16)), to=TensorProto.FLOAT)


def _mask(b):
    b.node("Dropout", b.quant("x", 0.5, 4), outputs=2)
    return b.node("Cast", "t1_1", to=TensorProto.FLOAT)


def _training(b):
    return b.node("Dropout", b.quant("x", 0.5, 4), 0.5, b.constant(True, np.bool_))


def _to_integers(b):
    return b.node("Cast", b.node("Cast", b.quant("x", 0.5, 4), to=TensorProto.INT32), to=TensorProto.FLOAT)


def _float16_scale(b):
    x = b.node("Cast", b.quant("x", 0.5, 4), to=TensorProto.FLOAT16)
    scale, zero = (b.constant(value, np.float16) for value in (0.1, 0))
    return b.node("Quant", x, scale, zero, 4.0, signed=1, narrow=0, rounding_mode="ROUND")


@pytest.mark.quick
@pytest.mark.parametrize(
    ("make", "why"),
    [
        (_bfloat16, "Cast_1: the result of Cast is of type bfloat16; export the model in float32"),
        (_rounded_input, "MatMul_4: its input passes Cast_1 after the last quantizer"),
        (_float16_layer, "MatMul_2: MatMul cannot be lowered: its input t1 is float16; cast it to float32"),
        (_mask, "Dropout_1: Dropout cannot be lowered: its output t1_1 is used"),
        (_training, "Dropout_1: Dropout cannot be lowered: it is in training mode"),
        (_to_integers, "Cast_1: Cast cannot be lowered: it rounds values to integers; use a Quant instead"),
        (_float16_scale, "Quant_2: Quant cannot be lowered: it quantizes float16 with a scale of float16"),
    ],
)
def test_what_has_no_exact_form_is_refused(make, why):
    b = Builder((1, 8))
    with pytest.raises(BitfabricError, match=why):
        lower(b.model((make(b), (1, 8))))


@pytest.mark.quick
def test_arithmetic_of_integers_is_refused():
    """An unsigned input of 8 bits plus 1 wraps in the model; as floating point it would not."""
    b = Builder((1, 8), elem_type=TensorProto.UINT8)
    x = b.node("Cast", b.node("Add", "x", b.constant(1, np.uint8)), to=TensorProto.FLOAT)
    x = b.node("MatMul", x, b.quant(np.ones((8, 3)), 1.0, 4))
    with pytest.raises(BitfabricError, match="Add_0: Add cannot be lowered: it computes in uint8; cast its input"):
        lower(b.model((x, (1, 3)), opset=14))
