"""The modules that nodes are made from: in the names of torch's exporter, and as metadata of the file."""

import ast
import re
from collections.abc import Collection

import onnx

SCOPES = "pkg.torch.onnx.name_scopes"
"""Key of the metadata in which torch.onnx lists a node's modules, from the outermost."""


def scopes(name: str, modules: Collection[str] = ()) -> list[str]:
    """The scopes in a name of TorchScript's exporter, ``/blocks/blocks.0/conv/Conv``: ``""``, ``blocks``,
    ``blocks.0``, ``blocks.0.conv``, ``Conv``. The elements of a container repeat its name.

    In the further calls of a module the name ends in ``_1``, ``_2``, ...; ``modules`` are the paths that there are.

    >>> scopes("/blocks/blocks.0_1/conv_1/Conv", {"blocks", "blocks.0", "blocks.0.conv"})
    ['', 'blocks', 'blocks.0', 'blocks.0.conv', 'Conv']
    """
    *parts, operator = name.strip("/").split("/")
    found = [""]
    last = ""
    for part in parts:
        outer = found[-1] if not last else found[-1].removesuffix(last)
        path = f"{outer}{part}" if last and part.startswith(f"{last}.") else f"{found[-1]}.{part}".lstrip(".")
        first = re.sub(r"_\d+$", "", path)
        again = path not in modules and first in modules
        found.append(first if again else path)
        last = re.sub(r"_\d+$", "", part) if again else part
    return [*found, operator]


def state_scopes(node: onnx.NodeProto, found: list[str]) -> None:
    """Writes a node's scopes to its metadata, where it has a module."""
    if len(found) > 2:
        node.metadata_props.append(onnx.StringStringEntryProto(key=SCOPES, value=str(found)))


def module_of(node: onnx.NodeProto) -> str:
    """The path of a node's innermost module, from its metadata; empty for the model itself."""
    stated = next((each.value for each in node.metadata_props if each.key == SCOPES), None)
    if stated is None:
        return ""
    *_, module, _operator = ast.literal_eval(stated)
    return str(module)
