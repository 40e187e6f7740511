"""Functions that are not monotone, as tables: of every integer, against the model, its mutants and hardware."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.faults.mutants import mutants
from hw.host.errors import BitfabricError
from hw.lowering.lower import lower, lower_model
from hw.lowering.pieces import pieces
from hw.lowering.qonnx import load
from hw.simulation.emulator import Emulator
from hw.verification.layers import check_directed, drive
from hw.verification.reference import Reference, compare, random_frames
from tests.builders.qonnx_builder import Builder
from tests.kernels.kernel_bench import check
from tests.lowering.test_one_integer import Expression


def silu(b: Builder, x: str) -> str:
    return b.node("Mul", x, b.node("Sigmoid", x))


def two_tables():
    """SiLU of a narrow input, which a table computes, and of sums."""
    rng = np.random.default_rng(7)
    b = Builder((1, 6))
    x = b.quant(silu(b, b.quant("x", 0.125, 6)), 0.25, 5)
    x = b.node("MatMul", x, b.quant(rng.integers(-31, 32, (6, 4)) * 0.125, 0.125, 6))
    x = b.batch_norm(x, [1.0, -0.7, 0.3, 1.9], [0.1, 0.0, -0.4, 0.2], [0.0] * 4, [1.0] * 4)
    x = b.node("MatMul", b.quant(silu(b, x), 0.25, 4), b.quant(rng.integers(-3, 4, (4, 3)), 1.0, 3))
    return b.model((x, (1, 3)))


def test_silu_is_a_table_and_of_sums_the_number_of_a_piece_and_a_table():
    model = two_tables()
    graph = lower(model)
    assert [(node.name, node.kernel.op) for node in graph] == [
        ("input_table", "table"), ("fc0", "matrix_vector"), ("fc0_threshold", "threshold"), ("fc0_table", "table"),
        ("fc1", "matrix_vector"),
    ]  # fmt: skip
    frames = random_frames(graph, 300)
    np.testing.assert_array_equal(Emulator(graph).run(frames), Reference(model).run(frames))
    assert compare(graph, model, frames).mismatches == 0


def test_directed_inputs_cover_every_piece_and_find_every_changed_value():
    reference = Reference(two_tables())
    lowering = lower_model(reference.model)
    graph = lowering.graph
    counts = check_directed(graph, lowering, reference)
    assert counts.covered == counts.decision_points > 200
    assert counts.layers == 4
    assert not counts.left_out
    found = [each for each in mutants(graph, 60) if each.kind in ("value", "threshold")]
    kinds = {each.kind for each in found}
    wrong = [bool(drive(graph.with_kernels({each.layer: each.kernel}), lowering, reference).wrong) for each in found]
    assert kinds == {"value", "threshold"}
    # A value of a number that no piece has, or of a code that the input cannot have, changes nothing.
    assert np.mean(wrong) > 0.8


@pytest.mark.slow
def test_tables_in_hardware():
    graph = lower(two_tables())
    rng = np.random.default_rng(0)
    check(graph, graph.encode(random_frames(graph, 20)), rng)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_pieces_of_wide_sums_are_those_of_every_integer(seed):
    """Halving finds what the evaluation of every integer finds, with fewer evaluations."""
    rng = np.random.default_rng(seed)
    b = Builder((1, 3))
    x = b.quant("x", 2.0**-6, 12)
    x = b.node("MatMul", x, b.quant(rng.integers(-31, 32, (3, 3)) / 32, 2.0**-5, 6))
    y = Expression(b, rng, (1, 3)).of(x, 3)
    y = b.quant(b.node("Mul", b.node("Mul", y, x), 0.02), 0.37, 4)
    model = b.model((b.node("MatMul", y, b.quant(np.eye(3), 1.0, 2)), (1, 3)), opset=20)
    try:
        lowering = lower_model(load(model))
    except BitfabricError as error:
        if not any(text in str(error) for text in ("finite", "changes its code", "its code changes")):
            raise
        return
    for decision in lowering.decisions.values():
        low, high = decision.source.bounds
        integers = np.arange(int(low.min()), int(high.max()) + 1).reshape(-1, 1)
        frames = np.clip(integers, low, high)
        got, want = decision.quantizer.execute(frames), decision.quantizer.function(frames)
        np.testing.assert_array_equal(got, want)


def test_work_grows_with_the_pieces_and_not_with_the_range():
    evaluated = 0

    def codes(frames):
        nonlocal evaluated
        evaluated += frames.size
        return np.floor(np.sin(frames * 2.0**-28) * 3 + 0.5)

    def bounds(first, last):
        near = np.maximum(np.abs(first), np.abs(last)) * 2.0**-28 > 1e9
        ends = codes(first), codes(last)
        flat = (last - first) * 2.0**-28 < 1e-3
        low, high = np.minimum(*ends) - ~flat - near, np.maximum(*ends) + ~flat + near
        return low, high

    low, high = np.array([[-(2**31)]]), np.array([[2**31]])
    found = pieces(codes, bounds, low, high, "q")
    assert evaluated < 200_000
    at = np.random.default_rng(0).integers(-(2**31), 2**31, 10_000)
    np.testing.assert_array_equal(found.at(0, at), codes(at))


@pytest.mark.parametrize(("bits", "message"), [(12, "its code changes .* times over a range of"), (16, "changes")])
def test_too_many_pieces_are_refused_by_name(bits, message):
    b = Builder((1, 3))
    x = b.node("MatMul", b.quant("x", 2.0**-8, 12), b.quant(np.eye(3), 1.0, 2))
    y = b.quant(b.node("Mul", b.node("Sin", b.node("Mul", x, 5.0)), x), 2.0 ** (4 - bits), bits)
    with pytest.raises(
        BitfabricError, match=rf"Quant_6: Quant follows a function that is not monotone.*{message}"
    ) as caught:
        lower(b.model((b.node("MatMul", y, b.quant(np.eye(3), 1.0, 2)), (1, 3))))
    assert "\n" not in str(caught.value)


def test_a_monotone_function_of_many_levels_and_few_inputs_is_a_table():
    b = Builder((1, 3))
    b.annotate("x", "INT8")
    y = b.quant(b.node("Sigmoid", b.node("Mul", "x", 0.05)), 2.0**-14, 15, signed=0)
    model = b.model((b.node("MatMul", y, b.quant(np.eye(3), 1.0, 2)), (1, 3)))
    graph = lower(model)
    assert [node.kernel.op for node in graph] == ["table", "matrix_vector"]
    compared = compare(graph, model, np.arange(-128, 128, dtype=np.float32).reshape(-1, 1).repeat(3, 1))
    assert compared.mismatches == compared.explained <= 3
