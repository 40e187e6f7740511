"""The reference with exact sums: it equals rational arithmetic, and decides where float32 cannot hold the sums."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.host.errors import BitfabricError
from hw.kernels.requant.kernel import Requant
from hw.kernels.threshold.kernel import Threshold
from hw.lowering.lower import lower_model
from hw.verification.exact_layers import inexact_layers
from hw.verification.float64_bounds import Bounds
from hw.verification.layers import drive
from hw.verification.reference import Reference, compare_with, random_frames
from tests.builders.qonnx_builder import Builder

pytestmark = pytest.mark.quick

STEP = 2.0**-12


def dense(bits=16, scale=STEP, out_scale=2.0**-9, norm=False, activation="Relu"):
    """16-bit codes and weights, a quantizer of ``bits`` bits, and a second layer of 16-bit sums."""
    rng = np.random.default_rng(1)
    b = Builder((1, 24))
    first, second = rng.normal(size=(24, 10)) * 4, rng.normal(size=(10, 3)) * 4
    x = b.node("MatMul", b.quant("x", scale, 16), b.quant(first, scale, 16))
    if norm:
        x = b.batch_norm(x, *(rng.uniform(0.5, 1.5, 10) for _ in range(4)), epsilon=1e-5)
    x = b.quant(b.node(activation, x), out_scale if bits == 16 else out_scale * 2.0 ** (16 - bits), bits)
    return b.model((b.node("MatMul", x, b.quant(second, scale, 16)), (1, 3)))


def convolution():
    """The same with images, a bias, and a pool after the quantizer."""
    rng = np.random.default_rng(2)
    b = Builder((1, 2, 8, 8))
    weights, bias = b.quant(rng.normal(size=(3, 2, 3, 3)) * 4, STEP, 16), b.quant(rng.normal(size=3), STEP**2, 24)
    x = b.node("Conv", b.quant("x", STEP, 16), weights, bias, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    x = b.node("MaxPool", b.quant(x, 2.0**-9, 16), kernel_shape=[2, 2], strides=[2, 2])
    x = b.node("Flatten", x)
    return b.model((b.node("MatMul", x, b.quant(rng.normal(size=(48, 3)) * 4, STEP, 16)), (1, 3)))


def joined(bits):
    """The sum of two products, with scales of their own, before a quantizer."""
    rng = np.random.default_rng(4)
    b = Builder((1, 24))
    x = b.quant("x", 2.0**-8, 12)
    first, second = (b.quant(rng.normal(size=(24, 10)) * 4, 2.0**-8 * scale, 12) for scale in (1.0, 0.25))
    y = b.node("Add", b.node("MatMul", x, first), b.node("MatMul", x, second))
    return b.model((b.quant(y, 2.0**-9 * 2.0 ** (16 - bits), bits), (1, 10)))


def integers():
    """Integers as input, 16-bit weights, and the mean of 16-bit codes."""
    rng = np.random.default_rng(5)
    b = Builder((1, 4, 6, 6))
    b.annotate("x", "INT16")
    x = b.node("Conv", "x", b.quant(rng.normal(size=(3, 4, 1, 1)) * 4, STEP, 16), kernel_shape=[1, 1])
    x = b.node("Flatten", b.node("AveragePool", b.quant(x, 2.0, 16), kernel_shape=[6, 6]))
    return b.model((b.node("MatMul", x, b.quant(rng.normal(size=(3, 3)) * 4, STEP, 16)), (1, 3)))


def compared(model, frames=400, mutate=None):
    reference = Reference(model)
    lowering = lower_model(reference.model)
    graph = lowering.graph if mutate is None else mutate(lowering.graph)
    x = random_frames(lowering.graph, frames, seed=3)
    x = x * np.float32(3) if x.dtype.kind == "f" else x
    return lowering, compare_with(graph, lowering, reference, x)


# By case: the model, its quantizer's kernel, and how many of 4,000 codes a Requant's factor of 26 bits leaves one off.
CASES = {
    "requant": (dense(), Requant, 0),
    "batch norm": (dense(norm=True), Requant, 1),
    "scales that are no powers of two": (dense(scale=0.0003), Requant, 0),
    "threshold": (dense(bits=4), Threshold, 0),
    "threshold, other scales": (dense(bits=4, scale=0.0003, norm=True), Threshold, 0),
    "a function that is approximated": (dense(bits=6, out_scale=2.0**-16, activation="Sigmoid"), Threshold, 0),
    "convolution": (convolution(), Requant, 0),
    "join": (joined(16), Requant, 0),
    "join, threshold": (joined(4), Threshold, 0),
    "integers": (integers(), Requant, 0),
}


@pytest.mark.parametrize("case", CASES)
def test_exact_sums_decide_and_agree_to_the_last_code(case):
    model, kernel, explained = CASES[case]
    lowering, result = compared(model, 60 if case in ("convolution", "integers") else 400)
    ((edge, decision), *_) = lowering.decisions.items()
    assert isinstance(decision.quantizer.kernels[-1], kernel)
    assert edge in inexact_layers(lowering)
    agreement = result.agreement()
    assert (agreement.mismatches, agreement.explained) == (explained, explained)
    assert agreement.decided == sum(
        result.layers[name].elements for name in inexact_layers(lowering) & set(result.layers)
    )
    assert agreement.inexact > 0 or kernel is Threshold or case == "join"
    assert agreement.remark.endswith(f"float32 itself differs from them in {agreement.inexact:,}")


@pytest.mark.parametrize("case", CASES)
def test_layers_at_inputs_of_their_own_agree_with_exact_sums(case):
    model, kernel, _ = CASES[case]
    reference = Reference(model)
    lowering = lower_model(reference.model)
    driven = drive(lowering.graph, lowering, reference)
    assert (driven.wrong, driven.left_out) == ({}, [])
    # Only a factor of too few bits, and a function that the reference approximates, leave codes to explain.
    assert driven.explained == 0 or case in ("batch norm", "scales that are no powers of two") or kernel is Threshold


@pytest.mark.parametrize("case", ["requant", "convolution"])
def test_one_weight_of_16_bits_is_found_to_the_last_code(case):
    """Its effect is below the rounding of float32's sums."""

    def mutate(graph):
        node = next(node for node in graph if node.kernel.op == "matrix_vector")
        weights = node.kernel.weights.copy()
        weights[0, 0] += 1
        return graph.with_kernels({node.name: replace(node.kernel, weights=weights)})

    _, result = compared(CASES[case][0], 60, mutate)
    with pytest.raises(BitfabricError, match=r"in layer .*_requant \(.*\), frame \d+, element \[\d"):
        result.agreement()


def test_sums_that_float32_holds_need_no_other_reference():
    lowering, _ = compared(dense(bits=4, scale=0.25))
    assert not inexact_layers(lowering)
    b = Builder((1, 12))
    y = b.node("MatMul", b.quant("x", 0.25, 4), b.quant(np.ones((12, 3)), 0.25, 4))
    assert compared(b.model((y, (1, 3))))[1].agreement().remark is None


NUMBERS = st.floats(-1e6, 1e6).filter(lambda x: x == 0 or abs(x) > 1e-6)


@settings(max_examples=200, deadline=None)
@given(a=NUMBERS, b=NUMBERS, c=NUMBERS)
def test_bounds_hold_the_rational_result_and_are_equal_where_float64_is_exact(a, b, c):
    one, two, three = (Bounds.exactly(np.array([value])) for value in (a, b, c))
    wanted = {0: Fraction(a) + Fraction(b), 1: Fraction(a) * Fraction(b), 2: Fraction(a) * Fraction(b) - Fraction(c)}
    made = {0: one + two, 1: one * two, 2: one * two - three}
    if b:
        wanted[3], made[3] = Fraction(a) / Fraction(b), one / two
    for key, want in wanted.items():
        low, high = Fraction(float(made[key].low[0])), Fraction(float(made[key].high[0]))
        assert low <= want <= high
        if key != 2:
            assert (low == high) == (Fraction(float(want)) == want)
