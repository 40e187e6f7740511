"""Lookup networks in ONNX's own operators: near misses are refused by name."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from hw.host.errors import BitfabricError
from hw.lowering.lower import lower
from tests.builders.lookup_models import LookupBuilder
from tests.lowering.test_lookup_networks import builder

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def tables(
    b: LookupBuilder, bits: str, wires=((0, 1), (1, 2)), factors=(1, 2), starts=(0, 4), contents=(0, 1) * 4
) -> str:
    """Two tables of two inputs, whose address and contents may be wrong."""
    x = b.node("Gather", bits, b.int64(wires), axis=1)
    y = b.node("Add", b.node("MatMul", x, np.array(factors, float)), np.array(starts, float))
    return b.node("Gather", b.constant(contents), b.node("Cast", y, to=INT64))


NEAR_MISSES = {
    "factors": ({"factors": (1, 3)}, "the address of table 0 is a sum of bits times [1, 3]; the factors are 1, 2, 4"),
    "equal factors": ({"factors": (1, 1)}, "times [1, 1]"),
    "starts": ({"starts": (0, 3)}, "table 1 starts at 3 of 8 entries; a table of 2 inputs starts at a multiple of 4"),
    "entries": ({"starts": (0, 8)}, "table 1 starts at 8 of 8 entries"),
    "below": ({"starts": (-4, 4)}, "table 0 starts at -4 of 8 entries"),
    "contents": ({"contents": (0, 1, 2, 3) * 2}, "its tables (c4) hold [2, 3]; a table of bits holds 0 and 1"),
    "rows": ({"contents": ((0, 1),) * 8}, "have the shape [8, 2]; gather from one flat row"),
    "one input": ({"wires": ((0,), (1,)), "factors": (1,)}, "a table has 1 inputs; tables have 2 to 8"),
    "nine inputs": (
        {"wires": (range(9),) * 2, "factors": 2 ** np.arange(9), "starts": (0, 512), "contents": (0, 1) * 512},
        "a table has 9 inputs; tables have 2 to 8: divide a larger one",
    ),
    "wires": ({"wires": ((0, 1), (1, 12))}, "its indices from 0 to 12 are none of the 12 elements of axis 1"),
}


@pytest.mark.parametrize(("wrong", "message"), NEAR_MISSES.values(), ids=NEAR_MISSES)
def test_near_misses_are_refused_by_name(wrong, message):
    b = builder(12)
    y = tables(b, b.node("Cast", b.node("Greater", "x", 3.0), to=FLOAT), **wrong)
    assert refusal(b.model((y, (1, 2)))).startswith("Gather_")
    assert message in refusal(b.model((y, (1, 2))))


def refusal(model: onnx.ModelProto) -> str:
    with pytest.raises(BitfabricError) as caught:
        lower(model)
    message = str(caught.value)
    assert "\n" not in message
    assert any(part in message for part in ("cannot be lowered", "--input-type", "no output depends"))
    return message


def test_addresses_without_an_axis_of_the_batch_are_refused():
    b = builder(12)
    bits = b.node("Gather", b.node("Cast", b.node("Greater", "x", 3.0), to=FLOAT), b.int64([[0, 1], [1, 2]]), axis=1)
    address = b.node("Add", b.node("MatMul", bits, np.array([1.0, 2.0])), np.array([0.0, 4.0]))
    flat = b.node("Reshape", b.node("Cast", address, to=INT64), b.int64([-1]))
    made = b.node("Reshape", b.node("Gather", b.constant((0, 1) * 4), flat), b.int64([-1, 2]))
    assert "have the batch and 2 addresses of a frame in one axis; keep the batch" in refusal(b.model((made, (1, 2))))


def test_networks_without_an_effect_are_refused():
    b = builder(12)
    y = tables(b, b.node("Cast", b.node("Greater", "x", 15.0), to=FLOAT))
    assert "no output depends on any input: the tables of lookup0 (Gather_6) are constant, or read bits that are" in (
        refusal(b.model((y, (1, 2))))
    )


def test_features_without_a_range_are_refused():
    b = builder(12, dtype="")
    y = tables(b, b.node("Cast", b.node("Greater", "x", 3.0), to=FLOAT))
    assert "input x reaches Greater_0 as floating point; say what it takes" in refusal(b.model((y, (1, 2))))


def test_addresses_of_more_than_bits_are_refused():
    b = builder(12)
    assert "its bits (x) have up to 16 values; a table reads bits" in refusal(b.model((tables(b, "x"), (1, 2))))
    b = builder(12, dtype="")
    made = b.model((tables(b, b.quant("x", 0.5, 1, signed=0)), (1, 2)))
    assert "have the values [0, 0.5]; use 0 and 1" in refusal(made)


def test_indices_that_are_no_sums_are_refused():
    b = builder(12)
    made = b.node("Gather", b.constant((0, 1) * 8), b.node("ArgMax", "x", axis=1))
    assert "its indices (t0) are the result of ArgMax_0, no sums of bits" in refusal(b.model((made, (1, 1))))
    made = b.node("Gather", b.constant((0, 1) * 8), b.node("Cast", b.node("Sigmoid", "x"), to=INT64))
    assert "its bits (t2) are computed in floating point" in refusal(b.model((made, (1, 12))))


@pytest.mark.parametrize(("op", "message"), [
    ("Mod", "its address (t6) is made of t4, the result of Mod_4, which is no sum of bits; add products of bits"),
    ("Transpose", "is made of t4, the result of Transpose_4, which works along the batch or at computed places"),
])  # fmt: skip
def test_addresses_that_pass_another_operator_are_refused_by_its_name(op, message):
    b = builder(12, number=INT64)
    bits = b.node("Cast", b.node("Greater", "x", 3.0), to=INT64)
    wires = b.int64([[0, 1], [1, 2]])
    if op == "Transpose":
        taken = b.node("Transpose", b.node("Gather", b.node("Transpose", bits, perm=[1, 0]), wires), perm=[2, 0, 1])
        sums = b.node("MatMul", taken, b.int64([1, 2]))
    else:
        sums = b.node("MatMul", b.node("Gather", bits, wires, axis=1), b.int64([1, 2]))
        sums = b.node("Identity", b.node("Mod", sums, b.int64(2)))
    made = b.node("Gather", b.constant((0, 1) * 4), b.node("Add", sums, b.int64([0, 4])))
    assert message in refusal(b.model((made, (1, 2))))


@pytest.mark.parametrize("op", ["Equal", "And"])
def test_bits_of_another_comparison_are_refused_by_its_name(op):
    b = builder(12)
    bits = (
        b.node("Equal", "x", 3.0)
        if op == "Equal"
        else b.node("And", b.node("Less", "x", 9.0), b.node("Greater", "x", 3.0))
    )
    made = b.model((tables(b, b.node("Cast", bits, to=FLOAT)), (1, 2)))
    assert f"are computed in floating point by {op}_" in refusal(made)
    assert "compare with levels (GreaterOrEqual, Greater, LessOrEqual, Less)" in refusal(made)


def test_data_at_computed_indices_is_refused():
    b = builder(12)
    index = b.node("Cast", b.node("Greater", "x", 3.0), to=INT64)
    made = b.model((b.quant(b.node("Gather", "x", index, axis=1), 1.0, 4), (1, 1, 12)))
    assert (
        "its input t1 is computed while running; take elements at constant indices, or entries of a constant table"
        in refusal(made)
    )


def test_bits_that_are_counted_unequally_are_refused():
    b = builder(12, number=FLOAT)
    y = tables(b, b.node("Cast", b.node("Greater", "x", 3.0), to=FLOAT))
    weighed = b.node("ReduceSum", b.node("Mul", b.node("Reshape", y, b.int64([-1, 1, 2])), [1.0, 3.0]), b.int64([2]))
    assert "it adds bits times [1, 3]; count all bits of a class alike" in refusal(b.model((weighed, (1, 1, 1))))


def test_groups_that_do_not_divide_are_refused():
    b = builder(12, number=FLOAT)
    y = tables(b, b.node("Cast", b.node("Greater", "x", 3.0), to=FLOAT))
    made = b.node("ReduceSum", b.node("Reshape", y, b.int64([-1, 3, 1])), b.int64([2]), keepdims=0)
    assert "its shape [-1, 3, 1] does not fit its input [1, 2]" in refusal(b.model((made, (1, 3))))
