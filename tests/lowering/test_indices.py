"""What a model does with the index that ArgMax or TopK chooses: casts, moves and arithmetic behind it."""

import numpy as np
import pytest
from onnx import TensorProto

from hw.host.steps import step
from hw.lowering.lower import lower
from hw.simulation.emulator import Emulator
from hw.verification import comparison
from hw.verification.reference import Reference, compare, random_frames
from tests.builders.qonnx_builder import Builder

WEIGHTS = np.random.default_rng(0).integers(-3, 4, (12, 5)).astype(np.float32)
INT64 = {"dtype": np.int64}

AFTER = {
    "float32": lambda b, x: (b.node("Cast", x, to=TensorProto.FLOAT), TensorProto.FLOAT),
    "float16": lambda b, x: (b.node("Cast", x, to=TensorProto.FLOAT16), TensorProto.FLOAT16),
    "int32": lambda b, x: (b.node("Cast", x, to=TensorProto.INT32), TensorProto.INT32),
    "int32 and int64": lambda b, x: (
        b.node("Cast", b.node("Cast", x, to=TensorProto.INT32), to=TensorProto.INT64), TensorProto.INT64,
    ),
    "a third": lambda b, x: (b.node("Div", b.node("Cast", x, to=TensorProto.FLOAT), 3.0), TensorProto.FLOAT),
    "Reshape": lambda b, x: (b.node("Reshape", x, b.constant([-1], **INT64)), TensorProto.INT64),
    "Unsqueeze": lambda b, x: (b.node("Unsqueeze", x, b.constant([1], **INT64)), TensorProto.INT64),
}  # fmt: skip


@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("choice", ["ArgMax", "ArgMax without axis", "TopK"])
@pytest.mark.parametrize("bias", [None, [0.5, 0, 0, 0, 1]])
def test_what_follows_an_index(after, choice, bias):
    """In hardware where the integers order as the logits do, or on the host."""
    b = Builder((1, 12))
    x = b.node("MatMul", b.quant("x", 0.25, 2), b.quant(WEIGHTS, 4.0, 3))
    x = x if bias is None else b.node("Add", x, bias)
    if choice == "TopK":
        x = b.node("TopK", x, b.constant([1], **INT64), outputs=2) + "_1"
    else:
        x = b.node("ArgMax", x, axis=1, keepdims=int(choice == "ArgMax"))
    y, kind = AFTER[after](b, x)
    shape = (1,) if choice == "ArgMax without axis" or after == "Reshape" else (1, 1)
    shape = (*shape, 1) if after == "Unsqueeze" else shape
    model = b.model((y, shape, kind))
    graph = lower(model)
    frames = random_frames(graph, 60)
    got, want = Emulator(graph).run(frames), Reference(model).run(frames)
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    np.testing.assert_array_equal(got, want)
    assert compare(graph, model, frames).mismatches == 0
    assert ("arg_max" in [node.kernel.op for node in graph]) == (bias is None)


def test_a_condition_as_an_integer():
    b = Builder((1, 12))
    x = b.node("MatMul", b.quant("x", 0.25, 2), b.quant(WEIGHTS, 4.0, 3))
    above = b.node("Cast", b.node("Greater", x, b.constant(0.5)), to=TensorProto.INT32)
    model = b.model((above, (1, 5), TensorProto.INT32))
    frames = random_frames(lower(model), 60)
    np.testing.assert_array_equal(Emulator(lower(model)).run(frames), Reference(model).run(frames))


def test_only_an_index_that_rounding_can_choose_is_explained():
    """Of three logits two are equal but for rounding; the others' indices lead to other numbers behind the choice."""
    exact = np.array([[1.0, 1.0 + 1e-9, 0.0]] * 3)
    bounds = exact - 1e-6, exact + 1e-6
    for keepdims in (False, True):
        choice = step("ArgMax", axis=1, keepdims=keepdims, last=False)
        for after, of in (
            ((), [0, 1, 2]),
            ((step("Cast", to="float32"), step("Mul", np.float32(-0.5))), [0, -0.5, -1]),
        ):
            chosen = np.array(of, np.float32 if after else np.int64)
            got, want = chosen[[1, 1, 1]], chosen[[1, 0, 2]]
            shape = (3, 1) if keepdims else (3,)
            differs, near, rounded = comparison._output(
                exact, bounds, (), (choice, *after), got.reshape(shape), want.reshape(shape)
            )
            assert differs.ravel().tolist() == [False, True, True]
            assert (near & differs).ravel().tolist() == [False, True, False]
            assert not rounded.any()
