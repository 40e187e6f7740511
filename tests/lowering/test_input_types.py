"""Types that a user gives to inputs: HLS's roundings to the tie, and the same as a quantizer in the model."""

from fractions import Fraction
from itertools import pairwise
from math import ceil, floor

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from hw.host.errors import BitfabricError, UsageError
from hw.lowering.input_types import MODES, described, input_types, parsed, with_input_types
from hw.lowering.lower import lower
from hw.simulation.emulator import Emulator
from hw.verification.reference import Reference, compare
from tests.builders.qonnx_builder import Builder


def dense(*sizes: int, elem_type: int = TensorProto.FLOAT, quant: bool = False) -> onnx.ModelProto:
    """Layers as QKeras has them: a float input, quantized weights and biases, Relu and quantizer."""
    rng, b = np.random.default_rng(0), Builder((1, sizes[0]), elem_type=elem_type)
    x = b.quant("x", 0.25, 4) if quant else "x"
    for number, (inputs, outputs) in enumerate(pairwise(sizes)):
        x = b.node("MatMul", x, b.quant(rng.normal(size=(inputs, outputs)) / 3, 2.0**-5, 6))
        x = b.node("Add", x, b.quant(rng.normal(size=outputs) / 3, 2.0**-5, 6))
        if number + 2 < len(sizes):
            x = b.quant(b.node("Relu", x), 2.0**-4, 6, signed=0)
    return b.model((x, (1, sizes[-1])))


def identity() -> onnx.ModelProto:
    """What a quantizer at the input gives: a product with the identity."""
    b = Builder((1, 1))
    return b.model((b.node("MatMul", "x", b.quant(np.eye(1), 1.0, 2)), (1, 1)))


ROUND = {
    "AP_TRN": floor,
    "AP_TRN_ZERO": int,
    "AP_RND": lambda v: floor(v + Fraction(1, 2)),
    "AP_RND_MIN_INF": lambda v: ceil(v - Fraction(1, 2)),
    "AP_RND_ZERO": lambda v: ceil(v - Fraction(1, 2)) if v > 0 else floor(v + Fraction(1, 2)),
    "AP_RND_INF": lambda v: floor(v + Fraction(1, 2)) if v > 0 else ceil(v - Fraction(1, 2)),
    "AP_RND_CONV": round,
}
"""HLS's definitions of rounding, on exact numbers (UG1399)."""


@settings(max_examples=16, deadline=None)
@given(
    mode=st.sampled_from(sorted(MODES)),
    signed=st.booleans(),
    symmetric=st.booleans(),
    bits=st.integers(2, 16),
    whole=st.integers(-3, 20),
    seed=st.integers(0, 10**6),
)
def test_fixed_point_is_that_of_hls(mode, signed, symmetric, bits, whole, seed):
    """Every rounding at ties, beside ties and beyond the range, against rational arithmetic.

    Subnormal numbers are left out: the model's float32 division by the step takes them to 0.
    """
    overflow = "AP_SAT_SYM" if symmetric else "AP_SAT"
    text = f"ap_{'' if signed else 'u'}fixed<{bits},{whole},{mode},{overflow}>"
    step = 2.0 ** (whole - bits)
    rng = np.random.default_rng(seed)
    reach = 1 << bits
    halves = np.concatenate([rng.integers(-2 * reach, 2 * reach, 40), np.arange(-9, 10)]) / 2
    x = np.float32(halves * step)
    x = np.concatenate([x, np.nextafter(x, np.float32(-np.inf)), np.nextafter(x, np.float32(np.inf))])[:, None]
    x[np.abs(x) < np.finfo(np.float32).tiny] = 0
    low = -(1 << bits - 1) + symmetric if signed else 0
    high = (1 << bits - 1) - 1 if signed else reach - 1
    codes = [min(max(ROUND[mode](Fraction(float(v)) / Fraction(step)), low), high) for v in x.ravel()]
    typed = with_input_types(identity(), text)
    graph = lower(typed)
    want = (np.array(codes) * step).astype(np.float32)[:, None]
    np.testing.assert_array_equal(Emulator(graph).run(x), want)
    np.testing.assert_array_equal(Reference(typed).run(x), want)


def test_defaults_round_and_saturate():
    assert parsed("fixed<8,3>") == parsed("ap_fixed<8, 3, AP_RND_CONV, AP_SAT>")
    assert parsed("ap_fixed<8,3>") == parsed("fixed<8,3,AP_TRN>")
    assert parsed("ufixed<8,3>") == parsed("scale=0.03125,bits=8,signed=0")
    assert described("fixed<16,6>") == (
        "quantized by the host to 16 bits, -32 to 31.999 in steps of 0.000976562, saturating"
    )
    assert [parsed(text) for text in ("uint8", "int4", "UINT16", "bipolar", "uint1")] == [
        "UINT8", "INT4", "UINT16", "BIPOLAR", "BINARY",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["fixed<16,6>", "ap_fixed<12,4,AP_RND>", "scale=0.1,zero_point=3,bits=8,signed=0"])
def test_a_jet_tagger_without_a_quantizer_at_its_input(text):
    """16-64-32-32-5, as QKeras and hls4ml have it; the reference has the quantizer, too."""
    model = dense(16, 64, 32, 32, 5)
    with pytest.raises(
        BitfabricError, match=r"input x reaches MatMul_1 as floating point; .*--input-type 'fixed<16,6>'"
    ):
        lower(model)
    frames = (np.random.default_rng(1).normal(size=(200, 16)) * 3).astype(np.float32)
    typed = with_input_types(model, text)
    assert input_types(typed) == {"x": text}
    assert input_types(model) == {}
    graph = lower(model, input_type=text)
    assert str(graph) == str(lower(typed))
    compared = compare(graph, typed, frames)
    assert compared.mismatches == compared.explained, compared.describe()
    assert str(lower(with_input_types(typed, text))) == str(graph)
    with pytest.raises(UsageError, match="input x already has the type"):
        with_input_types(typed, "uint8")


@pytest.mark.parametrize(("text", "low", "high"), [("uint8", 0, 255), ("int4", -8, 7), ("bipolar", -1, 1)])
def test_integers_as_they_are(text, low, high):
    model = dense(6, 5, 3)
    frames = np.random.default_rng(2).integers(low, high, (80, 6), endpoint=True).astype(np.float32)
    frames[frames == 0] = high
    graph = lower(model, input_type=text)
    assert graph.inputs[0].dtype == parsed(text)
    compared = compare(graph, with_input_types(model, text), frames)
    assert compared.mismatches == compared.explained, compared.describe()


def test_several_inputs():
    rng, b = np.random.default_rng(3), Builder((1, 6))
    b.inputs.append(helper.make_tensor_value_info("scale", TensorProto.FLOAT, (1, 6)))
    weights = [b.quant(rng.normal(size=(6, 4)), 0.25, 4) for _ in range(2)]
    outputs = [b.node("MatMul", name, each) for name, each in zip(("x", "scale"), weights, strict=True)]
    model = b.model(*((name, (1, 4)) for name in outputs))
    graph = lower(model, input_type=["x=uint8", "scale=scale=0.5,bits=4"])
    assert [port.dtype for port in graph.inputs] == ["UINT8", "float32"]
    assert str(lower(model, input_type={"x": "uint8", "scale": "scale=0.5,bits=4"})) == str(graph)
    for given_types, message in (
        ("uint8", 'the model has the inputs x, scale; give each its type: --input-type "x=uint8"'),
        (["x=uint8", "x=int4"], "input x is given two types"),
        ({"y": "uint8"}, "there is no input y, only x, scale"),
        (["y=uint8"], "there is no input y, only x, scale"),
    ):
        with pytest.raises(UsageError) as caught:
            lower(model, input_type=given_types)
        assert message in str(caught.value)


@pytest.mark.parametrize(("text", "message"), [
    ("float", "types are uint8, int4, bipolar, fixed<16,6>"),
    ("uint17", "streams have up to 16 bits"),
    ("int1", "signed ones at least 2"),
    ("fixed<17,6>", "streams have up to 16 bits"),
    ("fixed<8,900>", "its 900 bits before the point are out of range"),
    ("fixed<8>", "types are uint8"),
    ("ap_fixed<8,3,AP_ROUND>", "AP_ROUND is none of the roundings AP_RND, AP_RND_CONV"),
    ("ap_fixed<8,3,AP_TRN,AP_WRAP>", "AP_WRAP is not computed at an input; use AP_SAT"),
    ("scale=0.1", "it lacks bits="),
    ("scale=0,bits=8", "its scale is no positive number"),
    ("scale=nan,bits=8", "its scale is no positive number"),
    ("scale=0.1,bits=99", "bits= is 1 to 16"),
    ("scale=0.1,bits=8,zero_point=0.5", "its zero point is no whole number"),
    ("scale=0.1,bits=8,rounding=DICE", "QONNX has no rounding mode DICE"),
    ("scale=0.1,bits=8,bits=8", "each at most once"),
    ("scale=0.1,bits=x", "a value is no number"),
    ("\x1b[31mred", "types are uint8"),
])  # fmt: skip
def test_what_is_no_type_is_refused_in_one_line(text, message):
    with pytest.raises(UsageError) as caught:
        lower(dense(6, 3), input_type=text)
    assert message in str(caught.value)
    assert str(caught.value).isprintable()


def test_an_input_of_integers_takes_no_other_type():
    b = Builder((1, 6), elem_type=TensorProto.UINT8)
    x = b.quant(b.node("Cast", "x", to=TensorProto.FLOAT), 1.0, 8, signed=0)
    model = b.model((b.node("MatMul", x, b.quant(np.eye(6), 1.0, 2)), (1, 6)))
    assert lower(model, input_type="uint4").inputs[0].dtype == "UINT4"
    for text, message in (
        ("int8", "which does not hold INT8"),
        ("fixed<8,3>", "it holds integers; give it an integer"),
    ):
        with pytest.raises(UsageError, match=message):
            lower(model, input_type=text)


def test_a_quantizer_before_the_models_own():
    """Both quantizers are the host's; the model continues from the values of the first."""
    model, frames = dense(6, 4, quant=True), np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    typed = with_input_types(model, "fixed<8,2>")
    compared = compare(lower(typed), typed, frames)
    assert compared.mismatches == compared.explained, compared.describe()
