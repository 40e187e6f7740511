"""Sums of tensors with unequal scales: their quantizers have the model's codes for every combination of integers."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from hw.host.errors import BitfabricError
from hw.ir.stream import smallest_dtype
from hw.kernels.add.kernel import Add
from hw.kernels.requant.kernel import Requant
from hw.lowering.lower import lower_model
from hw.lowering.qonnx import load
from hw.lowering.rounding import interval
from hw.simulation.emulator import Emulator
from hw.verification.layers import check_directed, drive
from hw.verification.reference import Reference, compare, compare_with
from tests.builders.qonnx_builder import Builder
from tests.lowering.test_lower_images import conv, weights

RNG = np.random.default_rng(3)


def of_inputs(shape, bits, scales, zero_points=(0.0, 0.0, 0.0)):
    """A builder with one quantized input for each number of bits, and the names of these tensors."""
    b = Builder(shape, "a")
    b.inputs += [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "bc"[: len(bits) - 1]]
    given = zip("abc", bits, scales, zero_points, strict=False)
    return b, [b.quant(name, scale, n, zero) for name, n, scale, zero in given]


def every_combination(bits, scales, zero_points=(0.0, 0.0, 0.0)):
    """Values of scalar inputs for all combinations of their codes, (n, 1) by name."""
    codes = [np.arange(-(1 << n - 1), 1 << n - 1) for n in bits]
    values = np.array(list(product(*codes)), np.float64).T
    given = zip("abc", values, scales, zero_points, strict=False)
    return {name: ((code - zero) * scale).astype(np.float32) for name, code, scale, zero in given}


def differences(model, frames):
    """Elements that differ from the reference, all of them explained; and what the lowering knows of its sums."""
    lowering = lower_model(load(model))
    got, want = Emulator(lowering.graph).run(frames), Reference(model).run(frames)
    compared = compare(lowering.graph, model, frames)
    assert compared.mismatches == compared.explained == np.count_nonzero(got != want)
    return compared.mismatches, list(lowering.joins.values())


scales = st.floats(0.01, 1.0, width=32)


@settings(max_examples=40, deadline=None)
@given(
    bits=st.lists(st.integers(2, 5), min_size=2, max_size=3),
    out_bits=st.integers(1, 6),
    seed=st.integers(0, 10**6),
    by_channel=st.booleans(),
    op=st.sampled_from(["Add", "Sub", "Sum"]),
)
def test_all_combinations_of_codes_are_exact_but_those_that_are_counted(bits, out_bits, seed, by_channel, op):
    rng = np.random.default_rng(seed)
    bits = bits if op == "Sum" else bits[:2]
    channels = 3
    steps = np.exp(rng.uniform(-4, 0, (3, channels) if by_channel else (3, 1))).astype(np.float32)
    zeros = rng.integers(-1, 2, 3).astype(np.float32)
    b, terms = of_inputs((1, channels), bits, steps, zeros)
    x = b.node(op, *terms)
    if rng.integers(2):
        gamma = rng.normal(size=channels) * rng.integers(0, 3, channels).clip(0, 1)
        x = b.batch_norm(x, gamma, rng.normal(size=channels), rng.normal(size=channels), rng.uniform(0.5, 2, channels))
    x = b.node("Relu", x) if rng.integers(2) else x
    mode = str(rng.choice(["ROUND", "FLOOR", "HALF_UP"]))
    size = float(np.exp(rng.uniform(-4, -1)))
    x = b.quant(x, size, out_bits, 0.0, int(rng.integers(2)), rounding_mode=mode)
    each = [every_combination(bits, step, zeros) for step in np.broadcast_to(steps, (3, channels)).T]
    frames = {name: np.stack([values[name] for values in each], axis=1) for name in each[0]}
    count, joins = differences(b.model((x, (1, channels))), frames)
    for join in joins:
        assert join.combinations == channels * 2 ** sum(bits)
        assert join.differing == count
    assert count <= 0.01 * channels * 2 ** sum(bits)


def separates(factors, codes, values):
    sums = values @ factors
    return all(sums[codes < code].max() < sums[codes >= code].min() for code in np.unique(codes)[1:])


@pytest.mark.parametrize("seed", range(4))
def test_no_sum_of_fewer_bits_tells_the_codes_apart(seed):
    rng = np.random.default_rng(seed)
    bits, steps = (3, 4), np.exp(rng.uniform(-2, 0, 2)).astype(np.float32)
    b, terms = of_inputs((1, 1), bits, steps)
    model = b.model((b.quant(b.node("Add", *terms), 0.37, 5), (1, 1)))
    lowering = lower_model(load(model))
    kernel = next(node.kernel for node in lowering.graph if isinstance(node.kernel, Add))
    values = np.array(list(product(*(np.arange(-(1 << n - 1), 1 << n - 1) for n in bits))))
    frames = {name: given[:, None] for name, given in every_combination(bits, steps).items()}
    codes = np.rint(Reference(model).run(frames)[:, 0] / np.float32(0.37)).astype(int)
    assert separates(kernel.coefficients, codes, values)
    room = 1 << kernel.output_dtype.bitwidth() - 2
    for factors in product(range(1, room // 4 + 1), range(1, room // 8 + 1)):
        ends = values @ factors
        if smallest_dtype(int(ends.min()), int(ends.max())).bitwidth() < kernel.output_dtype.bitwidth():
            assert not separates(factors, codes, values)


def residual(b, x):
    y = b.quant(b.node("Relu", conv(b, x, weights(b, 4, 4, 1, 1, scale=0.0311), (1, 1))), 0.0711, 8, signed=0)
    return b.quant(b.node("Relu", b.node("Add", y, x)), 0.12, 8, signed=0)


def batch_norm(b, x, gamma=(0.7, -0.3, 0.11, 0.52)):
    y = conv(b, x, weights(b, 4, 4, 3, 3, scale=0.0311), pad=1)
    y = b.batch_norm(y, gamma, RNG.normal(size=4), RNG.normal(size=4), RNG.uniform(0.5, 2, 4))
    return b.quant(b.node("Relu", b.node("Add", y, x)), 0.43, 4, signed=0)


def two_batch_norms(b, x):
    parts = []
    for _ in range(2):
        y = conv(b, x, weights(b, 4, 4, 1, 1, scale=0.0311), (1, 1))
        parts.append(b.batch_norm(y, *RNG.uniform(0.5, 2, (4, 4))))
    return b.quant(b.node("Relu", b.node("Add", *parts)), 0.4, 4, signed=0)


def three(b, x):
    parts = [b.quant(conv(b, x, weights(b, 4, 4, 1, 1), (1, 1)), scale, 4) for scale in (0.711, 0.519)]
    return b.quant(b.node("Relu", b.node("Add", b.node("Sub", parts[0], x), parts[1])), 0.4, 4, signed=0)


def twelve_bits(b, x):
    return b.quant(b.node("Add", b.quant(x, 0.0711, 8), x), 0.0037, 12)


def to_an_output(b, x):
    return b.node("Sub", b.quant(conv(b, x, weights(b, 4, 4, 1, 1), (1, 1)), 0.0711, 8), x)


def read_twice(b, x):
    y = b.node("Add", b.quant(conv(b, x, weights(b, 4, 4, 1, 1), (1, 1)), 0.0711, 4), x)
    return b.quant(y, 0.3, 4), b.quant(b.node("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2]), 0.3, 4)


def dead_channel(b, x):
    return batch_norm(b, x, (0.7, 0.0, -0.11, 0.52))


@pytest.mark.parametrize(
    "network",
    [residual, batch_norm, dead_channel, two_batch_norms, three, twelve_bits, to_an_output, read_twice],
    ids=lambda network: network.__name__,
)
def test_networks_with_unequal_scales(network):
    b = Builder((1, 4, 6, 6))
    made = network(b, b.quant("x", 0.0973, 8))
    model = b.model(*((name, (1, 4, 6, 6)) for name in ((made,) if isinstance(made, str) else made)))
    reference = Reference(model)
    lowering = lower_model(reference.model)
    frames = {"x": (np.random.default_rng(0).normal(size=(30, 4, 6, 6)) * 3).astype(np.float32)}
    compared = compare_with(lowering.graph, lowering, reference, frames)
    assert compared.mismatches == compared.explained <= 2
    driven = drive(lowering.graph, lowering, reference)
    assert not driven.wrong
    assert not driven.left_out
    assert driven.covered == driven.decision_points or network is twelve_bits
    assert lowering.joins
    if network is residual:
        assert lowering.joins["add0"].differing == 0
        assert lowering.graph.edges["add0"].dtype.bitwidth() <= 18


def test_scales_of_channels_multiply_the_narrow_operand():
    b, (x, y) = of_inputs((1, 4), (8, 4), (0.0973, np.float32([[0.11, 0.23, 0.31, 0.07]])))
    lowering = lower_model(load(b.model((b.quant(b.node("Add", x, y), 0.21, 4), (1, 4)))))
    assert [node.kernel.op for node in lowering.graph] == ["requant", "add", "threshold"]
    scale = lowering.graph.node("add0_scale").kernel
    assert isinstance(scale, Requant)
    assert scale.inputs()[0].dtype.name == "INT4"
    assert lowering.joins["add0"].differing == 0


def test_ties_that_float32_breaks_differently_are_counted():
    bits, steps = (5, 5), np.float32([0.1, 0.3])
    b, terms = of_inputs((1, 1), bits, steps)
    model = b.model((b.quant(b.node("Add", *terms), 0.2, 6), (1, 1)))
    frames = {name: given[:, None] for name, given in every_combination(bits, steps).items()}
    count, (join,) = differences(model, frames)
    assert join.differing == count > 0
    reference = Reference(model)
    lowering = lower_model(reference.model)
    checked = check_directed(lowering.graph, lowering, reference)
    assert (checked.combinations, checked.differing) == (1024, count)
    assert f"; 1,024 combinations of unequal scales, {count} of them rounded otherwise by float32" in checked.summary


def pointwise(b, x, channels=4, inputs=4):
    return conv(b, x, weights(b, channels, inputs, 1, 1, scale=0.0311), (1, 1))


def branch(b, x, scale=0.0711, channels=4):
    return b.quant(b.node("Relu", pointwise(b, x, channels)), scale, 4, signed=0)


def concat(b, *parts):
    return b.node("Concat", *parts, axis=1)


def into_conv(b, x):
    bias = RNG.normal(size=4).astype(np.float32)
    y = b.node("Conv", concat(b, branch(b, x), x), weights(b, 4, 8, 3, 3, scale=0.0311), bias, kernel_shape=[3, 3],
               pads=[1] * 4)  # fmt: skip
    return b.quant(b.node("Relu", y), 0.21, 4, signed=0)


def nested_and_normed(b, x):
    y = concat(b, concat(b, branch(b, x), x), branch(b, x, 0.0519))
    y = b.batch_norm(y, *RNG.uniform(0.5, 1, (4, 12)))
    return b.quant(conv(b, b.quant(y, 0.07, 4), weights(b, 4, 12, 1, 1), (1, 1)), 0.2177, 4)


def three_into_conv(b, x):
    y = concat(b, concat(b, branch(b, x), x), branch(b, x, 0.0519, 2))
    return b.quant(pointwise(b, y, 4, 10), 0.21, 3)


def pooled(b, x):
    y = b.node("MaxPool", concat(b, branch(b, x), x), kernel_shape=[1, 1])
    return b.quant(pointwise(b, y, 4, 8), 0.21, 4)


def into_depthwise(b, x):
    return b.quant(conv(b, concat(b, branch(b, x), x), weights(b, 8, 1, 1, 1), (1, 1), group=8), 0.21, 4)


def into_groups(b, x):
    return b.quant(conv(b, concat(b, branch(b, x), x), weights(b, 4, 4, 1, 1), (1, 1), group=2), 0.21, 4)


def into_a_sum(b, x):
    return b.quant(b.node("Add", concat(b, branch(b, x), x), branch(b, x, 0.0519, 8)), 0.21, 4)


def into_an_output(b, x):
    return concat(b, branch(b, x), x)


def sums_at_an_output(b, x):
    return pointwise(b, concat(b, branch(b, x), x), 4, 8)


def scales_of_channels(b, x):
    x = b.quant(x, np.float32([0.1, 0.07, 0.1, 0.07]).reshape(1, 4, 1, 1), 4)
    return b.quant(pointwise(b, x), 0.21, 4)


@pytest.mark.parametrize(
    ("network", "convolutions"),
    [(into_conv, 3), (nested_and_normed, 3), (three_into_conv, 5), (pooled, 3), (into_depthwise, 1), (into_groups, 2),
     (into_a_sum, 2), (into_an_output, 1), (sums_at_an_output, 3), (scales_of_channels, 2)],
    ids=lambda each: getattr(each, "__name__", str(each)),
)  # fmt: skip
def test_layers_behind_a_concatenation_of_unequal_scales(network, convolutions):
    b = Builder((1, 4, 5, 5))
    made = network(b, b.quant("x", 0.0973, 4))
    reference = Reference(b.model((made, (1, 4, 5, 5))))
    lowering = lower_model(reference.model)
    frames = {"x": (np.random.default_rng(0).normal(size=(30, 4, 5, 5)) * 0.5).astype(np.float32)}
    compared = compare_with(lowering.graph, lowering, reference, frames)
    assert compared.mismatches == compared.explained <= 2
    driven = drive(lowering.graph, lowering, reference)
    assert not driven.wrong
    assert not driven.left_out
    assert sum(node.kernel.op == "matrix_vector" for node in lowering.graph) == convolutions


@pytest.mark.parametrize("op", ["MatMul", "Gemm"])
def test_fully_connected_layers_behind_a_concatenation(op):
    b = Builder((1, 4, 3, 3))
    x = b.quant("x", 0.0973, 4)
    matrix = b.quant(RNG.integers(-7, 8, (7 * 9, 5)) * 0.0311, 0.0311, 4)
    x = b.node(op, b.node("Flatten", concat(b, x, branch(b, x, channels=3))), matrix)
    reference = Reference(b.model((b.quant(x, 0.4, 5), (1, 5))))
    lowering = lower_model(reference.model)
    assert [node.name for node in lowering.graph][-4:] == ["fc0", "fc0_2", "fc0_add", "fc0_add_threshold"]
    assert lowering.joins["fc0_add"].differing == 0
    frames = {"x": np.random.default_rng(0).normal(size=(50, 4, 3, 3)).astype(np.float32)}
    assert compare_with(lowering.graph, lowering, reference, frames).mismatches == 0
    assert not drive(lowering.graph, lowering, reference).wrong


@pytest.mark.slow
def test_a_small_u_net_of_eight_bits():
    b = Builder((1, 4, 8, 8))
    x = b.quant("x", 0.0973, 8)

    def block(x, inputs, scale):
        x = conv(b, x, weights(b, 4, inputs, 3, 3, scale=0.0311, bits=8), pad=1)
        return b.quant(b.node("Relu", x), scale, 8, signed=0)

    first = block(x, 4, 0.0713)
    low = block(b.node("MaxPool", first, kernel_shape=[2, 2], strides=[2, 2]), 4, 0.0911)
    high = b.node("Resize", low, "", np.float32([1, 1, 2, 2]), mode="nearest", nearest_mode="floor",
                  coordinate_transformation_mode="asymmetric")  # fmt: skip
    model = b.model((block(concat(b, first, high), 8, 0.2), (1, 4, 8, 8)))
    frames = {"x": np.random.default_rng(0).normal(size=(30, 4, 8, 8)).astype(np.float32)}
    compared = compare(lower_model(load(model)).graph, model, frames)
    assert compared.mismatches == compared.explained <= 4


def test_a_sum_that_is_too_wide_names_its_node_and_the_remedy():
    b, (x, y) = of_inputs((1, 4), (16, 16), np.exp(RNG.uniform(-3, 0, (2, 1, 4))).astype(np.float32))
    message = r"Add_2: the scales of its inputs have no small ratio.*quantize"
    with pytest.raises(BitfabricError, match=message) as caught:
        lower_model(load(b.model((b.node("Add", x, y), (1, 4)))))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["Gemm", "Conv", "depthwise", "ConvTranspose"])
def test_a_bias_may_be_the_first_term_of_the_models_sum(kind):
    """A bias finer than the products: the sums alone are exact in float32, but not beside the bias, in any order."""
    rng = np.random.default_rng(7)
    inputs, outputs = (400, 20) if kind == "Gemm" else (16, 16)
    b = Builder((1, inputs) if kind == "Gemm" else (1, inputs, 6, 6))
    x = b.quant("x", 1.0, 8, signed=0)
    size = {"Gemm": (outputs, inputs), "depthwise": (outputs, 1, 5, 5)}.get(kind, (outputs, inputs, 5, 5))
    weight = rng.integers(-128, 128, size) * 2.0**-10
    bias = rng.integers(-(1 << 14), 1 << 14, outputs) * 2.0**-18
    options = {"Gemm": {"transB": 1}, "depthwise": {"group": inputs}}.get(kind, {})
    operator = "Conv" if kind == "depthwise" else kind
    y = b.node(operator, x, b.quant(weight, 2.0**-10, 8), bias, **options)
    shape = {"Gemm": (1, outputs), "ConvTranspose": (1, outputs, 10, 10)}.get(kind, (1, outputs, 2, 2))
    reference = Reference(b.model((y, shape)))
    lowering = lower_model(reference.model)
    assert check_directed(lowering.graph, lowering, reference).layers == 1

    if kind == "Gemm":
        [(edge, (_, tensor))] = [each for each in lowering.computed.items() if each[0] in lowering.products]
        codes = rng.integers(0, 256, (8, inputs))
        integers = {lowering.graph.inputs[0].edge: codes, edge: codes @ (weight.T * 1024).astype(int)}
        low, high = interval(tensor, integers, lowering.products)
        for order in (rng.permutation(inputs) for _ in range(8)):
            total = np.repeat(np.float32(bias)[None], len(codes), 0)
            for i in order:
                total += np.float32(codes[:, i, None] * weight[:, i])
            assert ((low <= total) & (total <= high)).all()
