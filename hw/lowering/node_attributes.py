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
