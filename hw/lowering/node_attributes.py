"""The attributes of a node as Python's values."""

from typing import Any

import onnx


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """An attribute of a node, or ``default``; strings are decoded, floats are Python floats."""
    for each in node.attribute:
        if each.name == name:
            value = onnx.helper.get_attribute_value(each)
            return value.decode() if isinstance(value, bytes) else value
    return default


def set_attributes(node: onnx.NodeProto, **values: Any) -> None:
    """Give a node attributes in place of those that it has of these names; None leaves one out."""
    kept = [each for each in node.attribute if each.name not in values]
    del node.attribute[:]
    node.attribute.extend(kept)
    node.attribute.extend(
        onnx.helper.make_attribute(name, value) for name, value in values.items() if value is not None
    )
