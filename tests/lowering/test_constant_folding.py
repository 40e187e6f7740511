"""Operators on constants, held against ONNX Runtime, and refused by name where they cannot be computed."""

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from hw.host.errors import BitfabricError
from hw.lowering.constant_folding import FUNCTIONS, OPERATORS, RANDOM, evaluate
from hw.lowering.gate.limits import MAX_ELEMENTS
from hw.lowering.lower import lower
from hw.simulation.emulator import Emulator
from hw.verification.reference import Reference
from tests.builders.qonnx_builder import Builder

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 3, 4)).astype(np.float32)
Y = RNG.normal(size=(3, 1)).astype(np.float32)
POSITIVE = np.abs(X) + np.float32(0.1)
WHOLE = RNG.integers(-9, 10, (2, 3, 4))
COUNTS = np.where(WHOLE == 0, 3, WHOLE)
TRUTH = X > 0


def ints(*values):
    return np.array(values, np.int64)


EXACT = [
    *[(op, (X, Y), {}) for op in ("Add", "Sub", "Mul", "Div", "Min", "Max", "Less", "Greater", "Equal", "Sum")],
    *[(op, (WHOLE, COUNTS), {}) for op in ("Add", "Sub", "Mul", "Div", "Min", "Max", "Mod")],
    *[(op, (X,), {}) for op in ("Abs", "Neg", "Floor", "Ceil", "Round", "Sign", "Relu", "Reciprocal", "Identity")],
    *[(op, (TRUTH, ~TRUTH[:1]), {}) for op in ("And", "Or", "Xor")],
    *[(op, (X, Y), {}) for op in ("LessOrEqual", "GreaterOrEqual")],
    ("Sqrt", (POSITIVE,), {}),
    ("Not", (TRUTH,), {}),
    ("PRelu", (X, Y), {}),
    ("IsNaN", (np.float32([0, np.nan, np.inf]),), {}),
    ("IsInf", (np.float32([0, np.nan, -np.inf, np.inf]),), {"detect_negative": 0}),
    ("Where", (TRUTH, X, Y), {}),
    ("Pow", (X, np.float32(2)), {}),
    ("Pow", (X, np.float32(3)), {}),
    ("Pow", (ints(2, 3), ints(5, 2)), {}),
    ("Mod", (X, np.float32(0.3)), {"fmod": 1}),
    ("Clip", (X, np.float32(-0.5), np.float32(0.5)), {}),
    *[("Cast", (X * 300,), {"to": to}) for to in (TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.INT32)],
    ("Cast", (X.astype(np.float64) * (1 + 1e-12),), {"to": TensorProto.FLOAT16}),
    ("Cast", (WHOLE,), {"to": TensorProto.FLOAT}),
    ("Cast", (X,), {"to": TensorProto.BOOL}),
    ("Shape", (X,), {}),
    ("Size", (X,), {}),
    ("Gather", (ints(4, 5, 6), np.int64(-1)), {}),
    ("Gather", (X, ints(1, 0)), {"axis": 1}),
    ("GatherElements", (X, np.zeros((2, 1, 4), np.int64)), {"axis": 1}),
    ("Concat", (ints(1), ints(2, 3)), {"axis": 0}),
    ("Slice", (X, ints(0), ints(2**31), ints(1), ints(2)), {}),
    ("Slice", (X, ints(-1, 1), ints(-(2**31), 3), ints(2, 1), ints(-1, 1)), {}),
    ("Split", (X, ints(1, 3)), {"axis": 2}),
    ("Unsqueeze", (X, ints(0, -1)), {}),
    ("Squeeze", (X[:1], ints(0)), {}),
    ("Squeeze", (X[:1],), {}),
    ("Flatten", (X,), {"axis": 2}),
    ("Reshape", (X, ints(0, -1)), {}),
    ("Transpose", (X,), {"perm": [2, 0, 1]}),
    ("Transpose", (X,), {}),
    ("Expand", (Y, ints(2, 1, 4)), {}),
    ("Tile", (X, ints(1, 2, 1)), {}),
    ("Range", (np.int64(7), np.int64(-1), np.int64(-3)), {}),
    ("Range", (np.float32(0), np.float32(1), np.float32(0.3)), {}),
    ("ConstantOfShape", (ints(2, 3),), {"value": numpy_helper.from_array(np.array([5], np.int64))}),
    ("ConstantOfShape", (ints(2),), {}),
    ("Constant", (), {"value_floats": [1.5, 2.5]}),
    ("Constant", (), {"value": numpy_helper.from_array(X)}),
    ("Pad", (X, ints(0, 1, 0, 0, 0, 2), np.float32(7)), {}),
    ("Dropout", (X,), {}),
    *[("ReduceSum", (WHOLE, ints(1)), {"keepdims": keep}) for keep in (0, 1)],
    *[(f"Reduce{what}", (WHOLE,), {"axes": [0, 2]}) for what in ("Max", "Min", "Prod", "SumSquare", "L1", "Mean")],
    ("ReduceMax", (X,), {}),
    ("ReduceMean", (np.round(X * 8),), {"axes": [2]}),
    ("MatMul", (WHOLE[0], WHOLE[0].T.copy()), {}),
    ("MatMul", (np.round(X * 8), np.round(X[:, :, :3].reshape(2, 3, 3)[:, :, :1] * 8).repeat(4, 1)[:, :4]), {}),
    ("ArgMax", (X,), {"axis": 1}),
    ("ArgMax", (WHOLE,), {"axis": 2, "keepdims": 0, "select_last_index": 1}),
    ("ArgMin", (X,), {"axis": -1}),
    ("BatchNormalization", (X, *np.abs(RNG.normal(size=(4, 3))).astype(np.float32)), {}),
]  # fmt: skip
ROUNDED = [
    *[(op, (X,), {}) for op in FUNCTIONS if op not in ("Acos", "Acosh", "Asin", "Atanh", "Log")],
    *[(op, (np.clip(X, -0.9, 0.9),), {}) for op in ("Acos", "Asin", "Atanh")],
    ("Acosh", (POSITIVE + np.float32(1),), {}),
    ("Gelu", (X,), {"approximate": "tanh"}),
    ("Shrink", (X,), {"lambd": 0.3, "bias": 0.2}),
    ("Mean", (X, Y, X), {}),
    ("Log", (POSITIVE,), {}),
    ("Pow", (POSITIVE, np.float32(0.7)), {}),
    ("ReduceL2", (X,), {"axes": [1]}),
    ("ReduceSum", (X,), {}),
    ("ReduceMean", (X,), {"axes": [1]}),
    ("MatMul", (X[0], X[0].T.copy()), {}),
]


NEWER = {"HardSwish": 14, "Mish": 18, "Gelu": 20, "Swish": 24}
"""Operators that opset 13 does not have."""


def node_and_runtime(op, inputs, attributes):
    """The node, and ONNX Runtime's outputs for it."""
    names = [f"in{i}" for i in range(len(inputs))]
    outputs = [f"out{i}" for i in range(2 if op == "Split" else 1)]
    node = helper.make_node(op, names, outputs, name=f"{op}_0", **attributes)
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in zip(names, inputs, strict=True)
    ]
    graph = helper.make_graph([node], "one", infos, [onnx.ValueInfoProto(name=name) for name in outputs])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", NEWER.get(op, 13))], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return node, session.run(None, dict(zip(names, inputs, strict=True)))


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("rounded", [False, True])
def test_operators_equal_the_runtime(rounded):
    """To the bit, where every result is rounded once; sums and functions like exp within their last bits."""
    for op, inputs, attributes in ROUNDED if rounded else EXACT:
        inputs = tuple(np.asarray(value) for value in inputs)
        node, expected = node_and_runtime(op, inputs, attributes)
        got = evaluate(node, inputs, NEWER.get(op, 13))
        for ours, theirs in zip(got, expected, strict=False):
            assert ours.dtype == theirs.dtype, op
            if rounded:
                np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=1e-6, err_msg=op)
            else:
                np.testing.assert_array_equal(ours, theirs, err_msg=op)
    assert {op for op, _, _ in EXACT + ROUNDED} == set(OPERATORS)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 9),
    st.integers(-12, 12) | st.sampled_from([2**31, -(2**31)]),
    st.integers(-12, 12) | st.sampled_from([2**31, -(2**31)]),
    st.sampled_from([-3, -1, 1, 2]),
)
def test_slices_equal_the_runtime(size, start, end, step):
    inputs = (np.arange(size), ints(start), ints(end), ints(0), ints(step))
    node, expected = node_and_runtime("Slice", inputs, {})
    np.testing.assert_array_equal(evaluate(node, inputs, 13)[0], expected[0])


REFUSED = [
    *[(op, (ints(2),), {}, "its values are random") for op in sorted(RANDOM)],
    ("Conv", (X, X), {}, "constants are not computed with this operator"),
    ("ConstantOfShape", (ints(1 << 20, 1 << 20),), {}, f"at most {MAX_ELEMENTS} elements"),
    ("Expand", (Y, ints(1 << 40, 3, 1)), {}, f"at most {MAX_ELEMENTS} elements"),
    ("Tile", (X, ints(1 << 40, 1, 1)), {}, f"at most {MAX_ELEMENTS} elements"),
    ("Range", (np.int64(0), np.int64(1 << 62), np.int64(1)), {}, f"at most {MAX_ELEMENTS} elements"),
    ("Mul", (np.zeros((1 << 20, 1)), np.zeros((1, 1 << 20))), {}, f"at most {MAX_ELEMENTS} elements"),
    ("Pad", (X, ints(0, 0, 0, 0, 0, 1 << 50)), {}, f"at most {MAX_ELEMENTS} elements"),
    ("Gather", (np.zeros((2, 1 << 20)), np.zeros(1 << 10, np.int64)), {}, f"at most {MAX_ELEMENTS} elements"),
    ("MatMul", (np.zeros((1 << 20, 1)), np.zeros((1, 1 << 20))), {}, f"at most {MAX_ELEMENTS} elements"),
    ("Range", (np.int64(0), np.int64(1), np.int64(0)), {}, "its step is 0"),
    ("Div", (ints(1), ints(0)), {}, "divided by zero"),
    ("Mod", (ints(1), ints(0)), {}, "divided by zero"),
    ("Reshape", (X, ints(5, 5)), {}, "its constants do not fit it"),
    ("Gather", (ints(1), np.int64(7)), {}, "its constants do not fit it"),
    ("Add", (X, X.astype(np.float64)), {}, "float32 and float64"),
    ("Add", (X,), {}, "it lacks its input 1"),
    ("Concat", (X, Y), {"axis": 0}, "its constants do not fit it"),
    ("Cast", (np.float32([np.nan]),), {"to": TensorProto.INT8}, "do not fit it"),
    ("Cast", (np.float32([300]),), {"to": TensorProto.INT8}, "do not fit it"),
    ("Cast", (X,), {"to": TensorProto.STRING}, "to the type string"),
    ("Cast", (X,), {"to": TensorProto.BFLOAT16}, "to the type bfloat16"),
    ("Dropout", (X, np.float32(0.5), np.bool_(True)), {}, "training mode"),
    ("Constant", (), {"value_string": "a"}, "it holds no numbers"),
]  # fmt: skip


@pytest.mark.quick
@pytest.mark.parametrize(("op", "inputs", "attributes", "why"), REFUSED)
def test_refused_by_name(op, inputs, attributes, why):
    node = helper.make_node(op, [f"in{i}" for i in range(len(inputs))], ["out"], name=f"{op}_7", **attributes)
    with pytest.raises(BitfabricError, match=f"{op}_7: {op} cannot be lowered: .*{why}"):
        evaluate(node, tuple(map(np.asarray, inputs)), 13)


def test_random_weights_are_refused_by_lowering():
    b = Builder((1, 4))
    drawn = b.node("RandomNormal", shape=[4, 2])
    model = b.model((b.node("MatMul", b.quant("x", 0.5, 4), b.quant(drawn, 0.25, 4)), (1, 2)))
    with pytest.raises(BitfabricError, match=r"RandomNormal_\d: RandomNormal cannot be lowered: its values are random"):
        lower(model)


def test_weights_behind_casts_keep_their_integers():
    """A Cast of constants that changes no value leaves a quantized weight quantized; one that changes some does not."""
    weights = RNG.integers(-7, 8, (4, 3)).astype(np.float32)
    for scale, fits in ((0.25, True), (0.1, False)):
        b = Builder((1, 4))
        w = b.quant(weights * np.float32(scale), scale, 4)
        w = b.node("Cast", b.node("Cast", w, to=TensorProto.FLOAT16), to=TensorProto.FLOAT)
        model = b.model((b.node("MatMul", b.quant("x", 0.5, 4), w), (1, 3)))
        if fits:
            frames = RNG.normal(size=(20, 4)).astype(np.float32)
            np.testing.assert_array_equal(Emulator(lower(model)).run(frames), Reference(model).run(frames))
        else:
            with pytest.raises(BitfabricError, match="are not quantized"):
                lower(model)
