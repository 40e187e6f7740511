"""Every operator of the ONNX standard, in every version, is read or refused by its name; never another exception."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.defs import OpSchema

from hw.host.errors import BitfabricError
from hw.lowering.constant_folding import OPERATORS
from hw.lowering.lower import lower
from hw.simulation.emulator import Emulator
from tests.lowering.operators.right import result
from tests.lowering.operators.row import NEWEST, OLDEST, ROUNDED, ULPS
from tests.lowering.operators.table import ROWS

NUMBERS = {
    "tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(bool)": np.bool_,
    "tensor(uint8)": np.uint8, "tensor(int8)": np.int8, "tensor(double)": np.float64, "tensor(float16)": np.float16,
}  # fmt: skip
"""The types of which data and constants are made, the preferred one first."""


READ = {row.op for row in ROWS if not row.domain} | set(OPERATORS)
"""Operators of data or of constants. Shape and Size of data are constant, too."""

FUNCTIONS = {row.op for row in ROWS if row.exactness == ROUNDED and row.output is not None}
"""Functions of which libraries compute other last bits: their results are quantized."""
LAST = {row.op for row in ROWS if row.exactness == ROUNDED and row.output is None}
"""Functions that only the host computes, after the last layer."""


def _schemas() -> list[tuple[OpSchema, int]]:
    """Every schema with an operator set in which it holds: the first one that is read; those of older sets as well."""
    found = []
    for schema in onnx.defs.get_all_schemas_with_history():
        opset = schema.since_version
        if not schema.domain and opset < OLDEST:
            latest = onnx.defs.get_schema(schema.name, OLDEST) if onnx.defs.has(schema.name, OLDEST) else None
            opset = OLDEST if latest and latest.since_version == schema.since_version else opset
        found.append((schema, opset))
    return found


def _graph() -> onnx.GraphProto:
    output = helper.make_tensor_value_info("inner", TensorProto.FLOAT, [1])
    constant = numpy_helper.from_array(np.ones(1, np.float32), "inner_c")
    return helper.make_graph([helper.make_node("Identity", ["inner_c"], ["inner"])], "body", [], [output], [constant])


VALUES = {
    OpSchema.AttrType.INT: 1, OpSchema.AttrType.INTS: [1], OpSchema.AttrType.FLOAT: 1.0,
    OpSchema.AttrType.FLOATS: [1.0], OpSchema.AttrType.STRING: "a", OpSchema.AttrType.STRINGS: ["a"],
    OpSchema.AttrType.TENSOR: numpy_helper.from_array(np.ones(1, np.float32)), OpSchema.AttrType.GRAPH: _graph(),
}  # fmt: skip


def _model(schema: OpSchema, opset: int) -> onnx.ModelProto:
    """The operator on data of a type that it takes; its other inputs are constants of ones."""
    inputs, constants, names = [], [], []
    for number, formal in enumerate(schema.inputs):
        if formal.option == OpSchema.FormalParameterOption.Optional:
            break
        kinds = sorted(set(formal.types).intersection(NUMBERS), key=list(NUMBERS).index)
        name = f"i{number}"
        if not inputs:
            kind = np.dtype(NUMBERS[kinds[0]]) if kinds else np.dtype(np.float32)
            elem_type = helper.np_dtype_to_tensor_dtype(kind)
            inputs.append(helper.make_tensor_value_info("x", elem_type, [1, 4]))
            name = "x"
        else:
            kind = NUMBERS[kinds[0]] if kinds else np.float32
            constants.append(numpy_helper.from_array(np.ones((1, 4), kind), name))
        names.append(name)
    if not inputs:
        inputs.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4]))
    nodes: list[onnx.NodeProto] = []
    how = {"signed": 1, "narrow": 0, "rounding_mode": "ROUND", "domain": "qonnx.custom_op.general"}
    if inputs[0].type.tensor_type.elem_type == TensorProto.FLOAT:
        given = zip("szb", (0.125, 0, 6), strict=True)
        constants += [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in given]
        nodes.append(helper.make_node("Quant", ["x", "s", "z", "b"], ["q"], "quant", **how))
        names[:1] = ["q"] if names else []
    attributes = {name: VALUES.get(each.type, 1) for name, each in schema.attributes.items() if each.required}
    outputs = [f"o{i}" for i in range(max(1, schema.min_output))]
    nodes.append(helper.make_node(schema.name, names, outputs, "subject", domain=schema.domain, **attributes))
    if not schema.inputs:
        nodes.append(helper.make_node("Add", ["q", outputs[0]], ["sum"], "sum"))
    elif schema.name in FUNCTIONS:
        constants.append(numpy_helper.from_array(np.array(0.03, np.float32), "s2"))
        nodes.append(helper.make_node("Quant", [outputs[0], "s2", "z", "b"], ["codes"], "codes", **how))
    result = nodes[-1].output[0]
    graph = helper.make_graph(nodes, "standard", inputs, [helper.make_empty_tensor_value_info(result)], constants)
    graph.output[0].type.tensor_type.elem_type = _output_type(schema, inputs[0].type.tensor_type.elem_type)
    opsets = [helper.make_opsetid("", NEWEST if schema.domain else opset)]
    opsets += [helper.make_opsetid("qonnx.custom_op.general", 1)]
    opsets += [helper.make_opsetid(schema.domain, opset)] if schema.domain else []
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def _output_type(schema: OpSchema, data: int) -> int:
    """The element type of the operator's first result, for data of a type."""
    if not schema.inputs or not schema.outputs or schema.outputs[0].type_str == schema.inputs[0].type_str:
        return data
    kinds = sorted(set(schema.outputs[0].types).intersection(NUMBERS), key=list(NUMBERS).index)
    return helper.np_dtype_to_tensor_dtype(np.dtype(NUMBERS[kinds[0]])) if kinds else data


@pytest.mark.parametrize(("schema", "opset"), [
    pytest.param(*each, id=f"{each[0].domain or 'onnx'}-{each[0].name}-{each[0].since_version}") for each in _schemas()
])  # fmt: skip
def test_an_operator_is_read_or_refused_by_its_name(schema, opset):
    model = _model(schema, opset)
    try:
        graph = lower(model)
    except BitfabricError as error:
        message = str(error)
        assert message.isprintable()
        if not schema.domain and opset < OLDEST:
            assert any(each in message for each in (f"opset {opset}", schema.name, "no quantizers"))
        elif schema.name not in READ:
            assert schema.name in message
        else:
            assert schema.name in message or "no quantizer" in message or "is constant" in message
        return
    frames = (np.random.default_rng(1).normal(size=(16, 4)) * 2).astype(np.float32)
    got, right = np.asarray(Emulator(graph).run(frames)), result(model, frames)
    if schema.name in LAST:
        np.testing.assert_array_max_ulp(got, right, ULPS)
    else:
        np.testing.assert_array_equal(got, right)


def test_every_operator_of_a_row_is_one_of_the_standard():
    assert {schema.name for schema, _ in _schemas() if not schema.domain} >= {row.op for row in ROWS if not row.domain}
