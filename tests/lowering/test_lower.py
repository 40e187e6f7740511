"""Lowering: the integer graph gives what the QONNX model gives, and refuses what it cannot give."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, numpy_helper

from hw.host.errors import BitfabricError
from hw.host.steps import run
from hw.lowering.integer_tensor import without_casts
from hw.lowering.lower import lower, lower_model
from hw.lowering.qonnx import load
from hw.simulation.emulator import Emulator
from hw.verification.reference import Reference, compare, random_frames
from tests.builders.qonnx_builder import Builder
from tests.builders.random_models import ROUNDING, RandomModel

pytestmark = pytest.mark.quick

SEEDS = st.integers(0, 10**6)
WEIGHTS = np.random.default_rng(0).integers(-7, 8, (12, 5)).astype(np.float32)
FREE = ("passes", "different scales", "and their sum is too wide", "that their sum needs", "levels")
"""What random networks may be refused for: no quantizer before a layer, unequal scales in a sum, no requant."""


def lowered(model):
    """The graph; None where a random network has something that no hardware computes exactly."""
    try:
        return lower(model)
    except BitfabricError as error:
        if not any(text in str(error) for text in FREE):
            raise
        return None


def check(model, frames=None):
    """The graph of a model on a power-of-two grid, found equal to the reference; and the output."""
    graph = lower(model)
    frames = random_frames(graph, 200) if frames is None else frames
    got, want = Emulator(graph).run(frames), Reference(model).run(frames)
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)
    assert compare(graph, model, frames).mismatches == 0
    return graph, got


def kernels(graph):
    return [(node.name, node.kernel.outputs()[0].dtype.name) for node in graph]


@pytest.mark.parametrize("wide", [False, True])
@settings(max_examples=10, deadline=None)
@given(seed=SEEDS)
def test_power_of_two_networks_are_equal(wide, seed):
    network = RandomModel(np.random.default_rng(seed), dyadic=True, wide=wide)
    model, frames = network.model(), network.frames(200)
    if lowered(model):
        check(model, frames)


@pytest.mark.parametrize("wide", [False, True])
@settings(max_examples=8, deadline=None)
@given(seed=SEEDS)
def test_other_networks_differ_only_by_float32_rounding(wide, seed):
    network = RandomModel(np.random.default_rng(seed), dyadic=False, wide=wide)
    model, frames = network.model(), network.frames(200)
    if graph := lowered(model):
        compared = compare(graph, model, frames)
        assert compared.mismatches == compared.explained + compared.apart, compared.describe()


@pytest.mark.parametrize("wide", [False, True])
@settings(max_examples=8, deadline=None)
@given(seed=SEEDS, dyadic=st.booleans())
def test_quantizers_are_their_chain_on_every_reachable_integer(wide, seed, dyadic):
    model = RandomModel(np.random.default_rng(seed), dyadic, wide).model()
    if graph := lowered(model):
        for name, decision in lower_model(load(model)).decisions.items():
            function, wire = decision.quantizer.function, decision.source
            kernel = graph.node(name).kernel
            least, most = int(wire.low.min()), int(wire.high.max())
            integers = np.unique(np.linspace(least, most, min(most - least + 1, 1 << 15)).astype(np.int64))
            frames = np.clip(integers[:, None], wire.low, wire.high)
            codes, got = function(frames), kernel.execute(frames)[0]
            assert np.all((decision.quantizer.low <= got) & (got <= decision.quantizer.high))
            if dyadic or kernel.op == "threshold":
                codes = 2 * codes - 1 if kernel.outputs()[0].dtype.name == "BIPOLAR" else codes
                np.testing.assert_array_equal(got, codes)
            else:
                head = without_casts(decision.steps)
                values = run(head[:-1], frames.astype(np.float64))
                room = np.abs(values).max() * 2.0**-23
                assert np.all((head[-1](values - room) <= got) & (got <= head[-1](values + room)))
                assert np.mean(got != codes) < 1e-3


@pytest.mark.parametrize("bits", [3, 12])
@pytest.mark.parametrize("mode", ROUNDING)
def test_every_rounding_mode_on_ties(mode, bits):
    b = Builder((1, 4))
    x = b.quant("x", 0.125, 8)
    x = b.node("Sub", b.node("MatMul", x, b.quant(np.eye(4) * [1, 3, -1, 5], 1.0, 4)), [0.5, 0.25, 0.0, 0.0])
    scale = 0.25 if bits == 3 else 2.0**-2
    model = b.model((b.quant(x, scale, bits, rounding_mode=mode), (1, 4)))
    frames = np.arange(-128, 128, dtype=np.float32)[:, None].repeat(4, axis=1) / 8
    check(model, frames)


def test_one_bit_network_has_the_names_and_types_it_should():
    rng = np.random.default_rng(1)
    b = Builder((1, 6))
    x = b.node("BipolarQuant", "x", 1.0)
    for inputs, outputs in ((6, 4), (4, 3)):
        x = b.node("MatMul", x, b.node("BipolarQuant", rng.normal(size=(inputs, outputs)), 0.5))
        x = b.batch_norm(x, [-1.0, 2.0, 0.0, 1.0][:outputs], [0.5] * outputs, [1.0] * outputs, [4.0] * outputs)
        x = b.node("BipolarQuant", x, 1.0) if outputs == 4 else x
    graph, _ = check(b.model((x, (1, 3))))
    assert kernels(graph) == [("fc0", "INT4"), ("fc0_threshold", "BIPOLAR"), ("fc1", "INT4")]
    weights = [node.kernel.weight_dtype.name for node in graph if node.kernel.op == "matrix_vector"]
    assert weights == ["BIPOLAR", "BIPOLAR"]
    threshold = graph.node("fc0_threshold").kernel
    assert threshold.decreasing.tolist() == [True, False, False, False]
    assert graph.edges["input"].dtype.name == "BIPOLAR"


def test_ternary_weights_and_activations():
    b = Builder((1, 12))
    weights = b.quant(WEIGHTS, 4.0, 2, narrow=1)
    x = b.quant(b.node("MatMul", b.quant("x", 0.5, 2, narrow=1), weights), 2.0, 2, narrow=1)
    graph, _ = check(b.model((b.node("MatMul", x, b.quant(WEIGHTS[:5], 4.0, 2, narrow=1)), (1, 5))))
    assert graph.edges["input"].dtype.name == graph.edges["fc0_threshold"].dtype.name == "TERNARY"
    assert graph.node("fc0").kernel.weight_dtype.name == "TERNARY"


def test_sixteen_bits_use_a_requant_and_narrow_ranges_are_known():
    b = Builder((1, 12))
    x = b.node("MatMul", b.quant("x", 2.0**-12, 16, narrow=1), b.quant(WEIGHTS, 1.0, 4))
    x = b.quant(b.node("Relu", b.node("Add", x, np.arange(5) / 32)), 2.0**-9, 16)
    graph, _ = check(b.model((b.node("MatMul", x, b.quant(WEIGHTS[:5], 1.0, 4)), (1, 5))))
    assert [node.kernel.op for node in graph] == ["matrix_vector", "requant", "matrix_vector"]
    assert graph.node("fc0").kernel.input_range == (-32767, 32767)
    assert graph.edges["fc0_requant"].dtype.name == "UINT15"


def test_integer_inputs_go_to_the_hardware_as_they_are():
    for quantized in (False, True):
        b = Builder((1, 3, 4))
        b.annotate("x", "UINT8")
        x = b.node("Flatten", b.node("Transpose", "x", perm=[0, 2, 1]))
        x = b.quant(b.node("Div", x, 256.0), 2.0**-4, 4, signed=0, rounding_mode="FLOOR") if quantized else x
        x = b.quant(b.node("MatMul", x, b.quant(WEIGHTS, 1.0, 4)), 2.0**4, 4)
        graph, _ = check(b.model((x, (1, 5))))
        assert graph.inputs[0].dtype == graph.edges["input"].dtype.name == "UINT8"
        assert graph.nodes[0].name == ("input_threshold" if quantized else "fc0")
    b = Builder((1, 12), elem_type=TensorProto.INT8)
    graph, _ = check(b.model((b.node("MatMul", b.node("Cast", "x", to=1), b.quant(WEIGHTS, 1.0, 4)), (1, 5))))
    assert graph.edges["input"].dtype.name == "INT8"


def test_gemm_with_factors_and_trunc():
    b = Builder((1, 12))
    x = b.node("Gemm", b.quant("x", 0.25, 6), b.quant(WEIGHTS, 1.0, 4), np.arange(5), alpha=0.5, beta=-2.0)
    x = b.node("Trunc", b.quant(x, 0.25, 8), 0.25, 0.0, 8.0, 4.0, rounding_mode="FLOOR")
    graph, _ = check(b.model((b.node("MatMul", x, b.quant(WEIGHTS[:5], 1.0, 4)), (1, 5))))
    assert kernels(graph)[1] == ("fc0_threshold", "INT4")


@pytest.mark.parametrize("mode", ROUNDING)
def test_a_requant_is_exact_for_offsets_off_its_grid(mode):
    b = Builder((1, 12))
    x = b.node("MatMul", b.quant("x", 2.0**-10, 12), b.quant(WEIGHTS, 1.0, 4))
    x = b.quant(b.node("Add", x, [1 / 3, -0.7, 0.0, 2.0**-20, -1e-6]), 2.0**-9, 12, rounding_mode=mode)
    (decision,) = lower_model(load(b.model((x, (1, 5))))).decisions.values()
    (kernel,), wire = decision.quantizer.kernels, decision.source
    assert kernel.op == "requant"
    frames = np.random.default_rng(0).integers(wire.low, wire.high, (10**5, 5), endpoint=True)
    np.testing.assert_array_equal(kernel.execute(frames)[0], decision.quantizer.function(frames))


@pytest.mark.parametrize("bits", [4, 16])
def test_sixteen_bits_with_scales_that_are_no_power_of_two(bits):
    rng = np.random.default_rng(bits)
    b = Builder((1, 12))
    x = b.node("MatMul", b.quant("x", 0.0137, 16), b.quant(WEIGHTS / 3, 3 / 2 ** (bits - 1), bits))
    x = b.batch_norm(x, rng.normal(size=5), rng.normal(size=5), rng.normal(size=5), rng.uniform(1, 9, 5), 1e-5)
    model = b.model((b.quant(b.node("Relu", x), 0.00173, 16, signed=0), (1, 5)))
    graph = lower(model)
    assert [node.kernel.op for node in graph] == ["matrix_vector", "requant"]
    compared = compare(graph, model, random_frames(graph, 500))
    assert compared.mismatches == compared.explained <= 25, compared.describe()


@pytest.mark.parametrize("inputs", [12, 300])
def test_sixteen_bits_behind_norms_of_very_different_channels(inputs):
    rng = np.random.default_rng(inputs)
    b = Builder((1, inputs))
    weights = rng.normal(size=(inputs, 6)) / 3
    x = b.node("MatMul", b.quant("x", 0.000137, 16), b.quant(weights, 2.0**-15 * 1.1, 16))
    gamma, variance = np.exp(rng.uniform(-9, 0, 6)), rng.uniform(1, 9 * inputs, 6)
    x = b.batch_norm(x, gamma, rng.normal(size=6), rng.normal(size=6), variance, 1e-5)
    x = b.quant(b.node("Relu", x), 0.00003, 16, signed=0)
    model = b.model((b.node("MatMul", x, b.quant(np.eye(6), 1.0, 2)), (1, 6)))
    graph = lower(model)
    assert [node.kernel.op for node in graph] == ["matrix_vector", "requant", "matrix_vector"]
    compared = compare(graph, model, random_frames(graph, 500))
    assert compared.mismatches == compared.explained <= 25, compared.describe()


def test_preprocessing_runs_on_the_host_in_float32():
    b = Builder((1, 3, 4))
    x = b.node("Div", b.node("Sub", b.node("Mul", "x", 1 / 255), np.full((3, 1), 0.1307)), 0.3081)
    x = b.quant(b.node("Flatten", x), 0.0171, 8)
    model = b.model((b.node("MatMul", x, b.quant(WEIGHTS, 1.0, 4)), (1, 5)))
    graph = lower(model)
    assert [node.name for node in graph] == ["fc0"]
    frames = np.random.default_rng(0).uniform(0, 255, (500, 3, 4)).astype(np.float32)
    codes = Reference(model).tensors(frames, [model.graph.node[-3].output[0]])[model.graph.node[-3].output[0]]
    np.testing.assert_array_equal(graph.encode(frames)["input"], np.rint(codes / np.float32(0.0171)))


def test_scales_of_channels_that_differ_by_whole_factors_go_into_the_weights():
    b = Builder((1, 12))
    x = b.quant("x", np.tile([0.25, 0.5, 1.0], 4), 4)
    check(b.model((b.node("MatMul", x, b.quant(WEIGHTS, 1.0, 4)), (1, 5))))


def test_a_quantizer_that_changes_nothing_is_dropped_and_two_become_one():
    b = Builder((1, 12))
    x = b.quant(b.quant("x", 0.25, 4), 0.125, 6)
    x = b.node("MatMul", x, b.quant(WEIGHTS, 1.0, 4))
    x = b.quant(b.node("Relu", b.quant(x, 0.5, 8)), 2.0, 3, signed=0)
    x = b.node("MatMul", b.quant(x, 1.0, 8), b.quant(WEIGHTS[:5], 1.0, 4))
    graph, _ = check(b.model((x, (1, 5))))
    assert kernels(graph)[1:3] == [("fc0_threshold", "UINT3"), ("fc1", "INT9")]


def test_clipping_on_the_grid_needs_no_quantizer():
    b = Builder((1, 12))
    x = b.node("Relu", b.quant("x", 0.25, 4))
    x = b.node("Clip", b.quant(b.node("MatMul", x, b.quant(WEIGHTS, 1.0, 4)), 0.5, 4), -1.5, 2.0)
    graph, _ = check(b.model((b.node("MatMul", x, b.quant(WEIGHTS[:5], 1.0, 4)), (1, 5))))
    assert graph.edges["input"].dtype.name == "UINT3"
    assert graph.node("fc0_threshold").kernel.steps == 7


@pytest.mark.parametrize(("scale", "bias"), [(2.0, -1.0), (0.5, 1.0), (1.0, -2.0), (0.25, 0.125)])
def test_multi_threshold(scale, bias):
    rows = np.sort(np.random.default_rng(3).integers(-30, 30, (5, 1 if bias == -1 else 3)), axis=1) / 4
    b = Builder((1, 12))
    x = b.node("MultiThreshold", "x", rows[:1] / 4, out_dtype="INT4", out_scale=scale, out_bias=bias)
    x = b.node("MatMul", x, b.quant(WEIGHTS, 1.0, 4))
    x = b.node("MultiThreshold", x, rows, out_dtype="INT4", out_scale=scale, out_bias=bias)
    graph, _ = check(b.model((b.node("MatMul", x, b.quant(WEIGHTS[:5], 1.0, 4)), (1, 5))))
    dtypes = {-1.0: "BIPOLAR", 1.0: "UINT3", -2.0: "INT2", 0.125: "UINT2"}
    assert graph.edges["fc0_threshold"].dtype.name == dtypes[bias]


def test_functions_that_turn_are_tables_where_they_turn():
    def model(shift):
        b = Builder((1, 12))
        x = b.node("MatMul", b.quant("x", 1.0, 4), b.quant(WEIGHTS, 1.0, 4))
        x = b.quant(b.node("Abs", b.node("Sub", x, shift)), 8.0, 3, signed=0)
        return b.model((b.node("MatMul", x, b.quant(WEIGHTS[:5], 1.0, 4)), (1, 5)))

    monotone, turning = (check(model(shift))[0] for shift in (1000.0, 3.0))
    assert [node.kernel.op for node in monotone] == ["matrix_vector", "threshold", "matrix_vector"]
    assert [node.kernel.op for node in turning] == ["matrix_vector", "threshold", "table", "matrix_vector"]


@pytest.mark.parametrize("bias", [None, [0.5, 0, 0, 0, 1]])
def test_arg_max_is_hardware_where_integers_order_as_logits_do(bias):
    for op, keepdims in (("TopK", 1), ("ArgMax", 1), ("ArgMax", 0)):
        b = Builder((1, 12))
        x = b.node("MatMul", b.quant("x", 0.25, 2), b.quant(WEIGHTS, 4.0, 3))
        x = x if bias is None else b.node("Add", x, bias)
        if op == "TopK":
            b.constants.append(numpy_helper.from_array(np.array([1]), "k"))
            index = b.node("TopK", x, "k", outputs=2) + "_1"
        else:
            index = b.node("ArgMax", b.node("Softmax", x), axis=1, keepdims=keepdims)
        model = b.model((index, (1, 1) if keepdims else (1,), TensorProto.INT64))
        graph, _ = check(model)
        assert [node.name for node in graph] == (["fc0", "arg_max"] if bias is None else ["fc0"])


def test_values_and_indices_of_top_k_come_from_one_edge():
    b = Builder((1, 12))
    x = b.node("MatMul", b.quant("x", 0.25, 2), b.quant(WEIGHTS, 1.0, 4))
    b.constants.append(numpy_helper.from_array(np.array([2]), "k"))
    values = b.node("TopK", b.quant(x, 1.0, 3), "k", outputs=2)
    model = b.model((values, (1, 2)), (values + "_1", (1, 2), TensorProto.INT64))
    graph = lower(model)
    frames = random_frames(graph, 100)
    got, want = Emulator(graph).run(frames), Reference(model).run(frames)
    for name in want:
        np.testing.assert_array_equal(got[name], want[name])
    assert [node.name for node in graph] == ["fc0", "fc0_threshold"]


def test_networks_of_a_quantizer_only():
    b = Builder((1, 12))
    check(b.model((b.quant("x", 0.25, 4), (1, 12))))
    b = Builder((1, 12))
    b.annotate("x", "INT6")
    check(b.model((b.quant(b.node("Tanh", "x"), 2.0**-6, 6), (1, 12))))


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_leading_axes_and_soft_max(op):
    b = Builder((1, 7, 12))
    x = b.node("MatMul", b.quant("x", 0.25, 4), b.quant(WEIGHTS, 1.0, 4))
    x = b.node("MatMul", b.quant(b.node("Add", x, np.arange(5)), 1.0, 4), b.quant(WEIGHTS[:5], 0.25, 4))
    model = b.model((b.node(op, x, axis=-1), (1, 7, 5)))
    graph = lower(model)
    frames = random_frames(graph, 50)
    np.testing.assert_allclose(Emulator(graph).run(frames), Reference(model).run(frames), rtol=1e-5, atol=1e-6)
    assert compare(graph, model, frames).mismatches == 0


def _refused(body):
    b = Builder((1, 12))
    x = b.quant("x", 0.25, 4)
    return b.model((body(b, x), (1, 5)))


def _floating(b, x):
    return b.node("MatMul", x, WEIGHTS / 3)


REFUSALS = {
    "weights that are not quantized": (_floating, r"MatMul_1: MatMul .*not quantized"),
    "no quantizer before a layer": (
        lambda b, x: b.node(
            "MatMul", b.node("Sigmoid", b.node("MatMul", x, b.quant(WEIGHTS, 1.0, 4))), b.quant(WEIGHTS[:5], 1.0, 4)
        ),
        r"MatMul_5: its input passes .*Sigmoid_3.*put a quantizer",
    ),
    "unequal scales": (
        lambda b, x: b.node("MatMul", b.quant(x, np.linspace(0.1, 0.2, 12), 4), b.quant(WEIGHTS, 1.0, 4)),
        r"MatMul_3: MatMul .*different scales",
    ),
    "an unknown operator": (
        lambda b, x: b.node("Hardmax", b.node("MatMul", x, WEIGHTS)), r"Hardmax_2: Hardmax .*no kernel"
    ),
    "a rounding mode": (
        lambda b, x: b.quant(b.node("MatMul", x, WEIGHTS), 1.0, 4, rounding_mode="STOCHASTIC"),
        r"Quant_2: QONNX has no rounding mode STOCHASTIC",
    ),
    "a scale of zero": (lambda b, x: b.quant(b.node("MatMul", x, WEIGHTS), 0.0, 4), r"Quant_2: .*not positive"),
    "a bias of NaN": (lambda b, x: b.node("Add", b.node("MatMul", x, WEIGHTS), np.nan), r"Add_2: Add .*NaN"),
    "a product of data": (
        lambda b, x: b.node("Mul", *[b.node("MatMul", x, w) for w in (WEIGHTS, -WEIGHTS)]),
        r"Mul_3: Mul .*several data tensors",
    ),
    "16 bits of a sigmoid": (
        lambda b, x: b.node(
            "MatMul", b.quant(b.node("Sigmoid", b.node("MatMul", x, 15 * WEIGHTS)), 2.0**-16, 16, signed=0), np.eye(5)
        ),
        r"Quant_3: Quant has \d+ levels",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSALS)
def test_refusals_name_the_node_and_the_remedy(what):
    body, message = REFUSALS[what]
    with pytest.raises(BitfabricError, match=message) as caught:
        lower(_refused(body))
    assert "\n" not in str(caught.value)


def test_a_floating_point_input_is_refused():
    b = Builder((1, 12))
    x = b.quant(b.node("MatMul", "x", b.quant(WEIGHTS, 1.0, 4)), 1.0, 4)
    with pytest.raises(BitfabricError, match=r"input x reaches MatMul_1 as floating point; .*QuantIdentity"):
        lower(b.model((x, (1, 5))))


def test_importing_is_light():
    code = (
        "import sys, hw.lowering.lower, hw.verification.reference; "
        "sys.exit(bool({'torch', 'brevitas', 'finn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
