"""A node against ONNX's own definition of its operator: the number and types of inputs, outputs and attributes."""

from math import isfinite

import onnx
from onnx import AttributeProto, TensorProto
from qonnx.custom_op.registry import getCustomOp

from hw.host.errors import BitfabricError
from hw.lowering.gate.names import printable
from hw.lowering.gate.site import Site
from hw.lowering.gate.tensors import FLOATS, TYPES, type_name
from hw.lowering.refusal import unknown_operator

MOST_INT = 1 << 40
"""Magnitude up to which integer attributes are read; sums and products of sizes then stay within 64 bits."""


def check_attributes(site: Site) -> None:
    """Raise BitfabricError for attributes of any operator whose values cannot be used: NaN, or text not in UTF-8."""
    for attribute in site.node.attribute:
        name = attribute.name
        floats = (attribute.f,) if attribute.type == AttributeProto.FLOAT else attribute.floats
        if not all(map(isfinite, floats)):
            raise site.error(f"its attribute {name} is not finite", "check the training")
        integers = (attribute.i,) if attribute.type == AttributeProto.INT else attribute.ints
        if any(abs(value) > MOST_INT for value in integers):
            raise site.error(f"its attribute {name} is out of range")
        for text in (attribute.s,) if attribute.type == AttributeProto.STRING else attribute.strings:
            try:
                text.decode()
            except UnicodeDecodeError:
                raise site.error(f"its attribute {name} is not UTF-8") from None


def check_schema(site: Site, version: int) -> None:
    """Raise BitfabricError for a node that ONNX's definition of its operator, of a ``version``, does not allow."""
    node = site.node
    try:
        schema = onnx.defs.get_schema(node.op_type, version, "")
    except onnx.defs.SchemaError:
        raise unknown_operator(node, f"ONNX's opset {site.version} has no such operator") from None
    if schema.deprecated:
        raise site.error(f"opset {site.version} no longer has it", "export it in an opset that has the operator")
    for what, names, least, most in (
        ("inputs", node.input, schema.min_input, schema.max_input),
        ("outputs", node.output, schema.min_output, schema.max_output),
    ):
        if not least <= len(names) <= most:
            raise site.error(f"it has {len(names)} {what}; {node.op_type} has {_count(least, most)}")
    _check_attributes(site, schema)
    _check_inputs(site, schema)


INPUTS = {"Quant": 4, "IntQuant": 4, "BipolarQuant": 2, "MultiThreshold": 2, "Trunc": 5}
"""Quantizer -> the number of its inputs; Trunc has one more from version 2 of QONNX's operators on."""


def check_quantizer(site: Site) -> None:
    """Raise BitfabricError for a node that QONNX's definition of its quantizer does not allow."""
    node = site.node
    count = INPUTS[node.op_type] + (node.op_type == "Trunc" and site.version > 1)
    if len(node.input) != count:
        raise site.error(f"it has {len(node.input)} inputs; {node.op_type} has {count}")
    if len(node.output) != 1:
        raise site.error(f"it has {len(node.output)} outputs; {node.op_type} has 1")
    for index in range(count):
        kind = site.input(index).elem_type
        if kind not in FLOATS | EXACT:
            raise site.error(f"its input {node.input[index]} is of type {type_name(kind)}; use float")
    for name, (kind, required, *_) in getCustomOp(node, site.version).get_nodeattr_types().items():
        value = site.get(name, KINDS[kind])
        if value is None and required:
            raise site.error(f"it lacks its attribute {name}")


def check_linear(site: Site) -> None:
    """Raise BitfabricError for a QuantizeLinear or DequantizeLinear of ONNX Runtime with other inputs or attributes."""
    node = site.node
    if not 2 <= len(node.input) <= 3 or len(node.output) != 1:
        raise site.error(
            f"it has {len(node.input)} inputs and {len(node.output)} outputs; {node.op_type} has 2 to 3, 1"
        )
    for attribute in node.attribute:
        if attribute.name not in LINEAR_ATTRIBUTES or attribute.type != AttributeProto.INT:
            raise site.error(
                f"it has an attribute {printable(attribute.name)}, which it does not have in {node.domain}"
            )


LINEAR_ATTRIBUTES = frozenset({"axis", "block_size", "saturate"})
"""The attributes of ONNX Runtime's QuantizeLinear and DequantizeLinear, which the onnx package does not define."""
EXACT = frozenset({TensorProto.INT8, TensorProto.UINT8, TensorProto.INT16, TensorProto.UINT16})
"""Integer element types that a quantizer takes: all their values are float32 numbers."""
KINDS = {"i": AttributeProto.INT, "f": AttributeProto.FLOAT, "s": AttributeProto.STRING}
"""qonnx's names of the types of attributes that quantizers have."""


def _count(least: int, most: int) -> str:
    if least == most:
        return str(least)
    return f"{least} or more" if most > 1 << 20 else f"{least} to {most}"


def _check_attributes(site: Site, schema: onnx.defs.OpSchema) -> None:
    for attribute in site.node.attribute:
        known = schema.attributes.get(attribute.name)
        if known is None:
            raise site.error(
                f"it has an attribute {printable(attribute.name)}, which {site.node.op_type} of opset {site.version} "
                "does not have"
            )
        have, want = AttributeProto.AttributeType.Name(attribute.type), str(known.type).rpartition(".")[2]
        if have != want:
            raise site.error(f"its attribute {attribute.name} is of type {have}, not {want}")
    given = {attribute.name for attribute in site.node.attribute}
    for name, known in schema.attributes.items():
        if known.required and name not in given:
            raise site.error(f"it lacks its attribute {name}")


def _check_inputs(site: Site, schema: onnx.defs.OpSchema) -> None:
    bound: dict[str, int] = {}
    for index, tensor in enumerate(site.inputs):
        formal = schema.inputs[min(index, len(schema.inputs) - 1)]
        if tensor is None:
            if formal.option == onnx.defs.OpSchema.FormalParameterOption.Single:
                raise site.error(f"it lacks its input {formal.name}")
            continue
        name = site.node.input[index]
        if f"tensor({TYPES[tensor.elem_type]})" not in formal.types:
            raise site.error(
                f"its input {name} is of type {type_name(tensor.elem_type)}, which {site.node.op_type} of opset "
                f"{site.version} does not take",
                "export the model in float32",
            )
        first = bound.setdefault(formal.type_str, tensor.elem_type) if formal.is_homogeneous else tensor.elem_type
        if first != tensor.elem_type:
            raise _mixed(site, name, tensor.elem_type, first)


def _mixed(site: Site, name: str, have: int, want: int) -> BitfabricError:
    return site.error(
        f"its input {name} is of type {type_name(have)}, another one of type {type_name(want)}",
        "export the model in float32",
    )
