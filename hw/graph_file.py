"""A dataflow graph as two files: ``graph.json`` (nodes, fields of kernels, ports) and ``graph.safetensors`` (arrays).

The bytes follow from the graph alone, and the graph that is read back is equal in every field. Nothing is executed at
reading: a kernel is found by its ``op`` (``hw.kernels``), its constructor checks its fields, and the graph's
constructor the connections.

Fields of kernels, and operands and attributes of host steps, may be: None, numbers, strings, bytes, tuples, lists,
dicts, QONNX data types, arrays of integers (also of Python's, dtype object), floats or bools, other kernels, and
dataclasses that the kernel's module, or that of such a dataclass, defines or imports, made of these. In JSON a list is
a tuple; every other kind is an object with one key, its tag (``_TAGS``). Arrays of integers are stored in the narrowest
type that holds them.
"""

import dataclasses
import json
import math
import sys
from collections import ChainMap
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from qonnx.core.datatype import BaseDataType, DataType

from hw import array_file, kernels
from hw.host.elementwise import COMBINERS
from hw.host.errors import BitfabricError, UsageError
from hw.host.files import read_json, write_bytes, write_text
from hw.host.operators import OPERATORS
from hw.host.steps import HostStep
from hw.ir.graph import Graph, Node, Port
from hw.ir.kernel import Kernel
from hw.ir.origin import Origin

FORMAT, VERSION = "bitfabric graph", 2
JSON_FILE, ARRAY_FILE = "graph.json", "graph.safetensors"
Namespace = Mapping[str, Any]
"""The names of a kernel's module, among which the classes of its fields are found."""


def write(graph: Graph, folder: Path) -> None:
    """Write a graph into ``folder``. Raises BitfabricError for a field that has no form here."""
    writer = _Writer()
    content = {
        "format": FORMAT,
        "version": VERSION,
        "nodes": [writer.node(node) for node in graph],
        "inputs": [writer.port(port) for port in graph.inputs],
        "outputs": [writer.port(port) for port in graph.outputs],
    }
    text = json.dumps(content, indent=1, allow_nan=False)
    write_text(folder / JSON_FILE, f"{text}\n", durable=False)
    write_bytes(folder / ARRAY_FILE, array_file.pack(writer.arrays), durable=False)


def read(folder: Path) -> Graph:
    """The graph in ``folder``. Raises UsageError, which names the file and the node, for anything that is not one."""
    path = folder / JSON_FILE
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise _damaged(path, f"it cannot be read ({_words(error)})") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise _damaged(path, "it holds no dataflow graph")
    if content.get("version") != VERSION:
        raise UsageError(f"{path} has version {content.get('version')!r}, this bitfabric reads {VERSION}; build again")
    try:
        reader = _Reader(array_file.unpack((folder / ARRAY_FILE).read_bytes()))
    except (OSError, ValueError) as error:
        raise _damaged(folder / ARRAY_FILE, f"it cannot be read ({_words(error)})") from None
    nodes = tuple(_part(path, "node", each, reader.node) for each in _list(path, content, "nodes"))
    inputs = tuple(_part(path, "input", each, reader.port) for each in _list(path, content, "inputs"))
    outputs = tuple(_part(path, "output", each, reader.port) for each in _list(path, content, "outputs"))
    try:
        return Graph(nodes, inputs, outputs)
    except (BitfabricError, ValueError) as error:
        raise _damaged(path, _words(error)) from None


def _damaged(path: Path, why: str) -> UsageError:
    return UsageError(f"{path} is damaged: {why}; build again")


def _words(error: Exception) -> str:
    """An error in one line; those of Python's own with their type."""
    own = isinstance(error, BitfabricError | _WrongError)
    return " ".join(str(error).split()) if own else " ".join(f"{type(error).__name__}: {error}".split())


class _WrongError(Exception):
    """What is wrong with a part of the file."""


_PYTHON = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What constructors and conversions raise for values of wrong types."""


def _list(path: Path, content: dict[str, Any], key: str) -> list[Any]:
    value = content.get(key)
    if not isinstance(value, list):
        raise _damaged(path, f"it has no list of {key}")
    return value


def _part(path: Path, what: str, content: Any, make: Callable[[dict[str, Any]], Any]) -> Any:
    """A node or a port; its errors become one line that names it."""
    name = content.get("name") if isinstance(content, dict) else None
    if not isinstance(name, str):
        raise _damaged(path, f"a {what} has no name")
    try:
        return make(content)
    except (BitfabricError, _WrongError, *_PYTHON) as error:
        raise _damaged(path, f"{what} {name}: {_words(error)}") from None


class _Writer:
    """Converts the parts of a graph to JSON-able values; ``arrays`` collects the arrays by name."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}

    def node(self, node: Node) -> dict[str, Any]:
        kernel, fields = node.kernel, self._kernel(node.kernel, node.name)
        names = {"inputs": list(node.inputs), "outputs": list(node.outputs)}
        origin = {"node": node.origin.node, "module": node.origin.module}
        return {"name": node.name, "origin": origin, "kernel": kernel.op, "fields": fields, **names}

    def port(self, port: Port) -> dict[str, Any]:
        steps = self._steps(port.steps, port.name)
        return {"name": port.name, "edge": port.edge, "shape": list(port.shape), "dtype": port.dtype, "steps": steps}

    def _steps(self, steps: tuple[HostStep, ...], where: str) -> list[dict[str, Any]]:
        made = []
        for i, step in enumerate(steps):
            content = {
                "op": step.op,
                "operands": self._value(step.operands, f"{where}.{i}.operands", {}),
                "attributes": self._value(step.attributes, f"{where}.{i}.attributes", {}),
            }
            if step.branches:
                places = (f"{where}.{i}.branches.{n}" for n in range(len(step.branches)))
                content["branches"] = [self._steps(*each) for each in zip(step.branches, places, strict=True)]
            made.append(content)
        return made

    def _kernel(self, kernel: Kernel, where: str) -> dict[str, Any]:
        """The fields of a kernel: of a node, or of another kernel."""
        if kernels.get(kernel.op) is not type(kernel):
            raise BitfabricError(f"{where}: its kernel {kernel.op} is not the installed one; install its package")
        return self._fields(kernel, f"{where}.", vars(sys.modules[type(kernel).__module__]))

    def _fields(self, owner: Any, prefix: str, known: Namespace) -> dict[str, Any]:
        names = [field.name for field in dataclasses.fields(owner) if field.init]
        return {name: self._value(getattr(owner, name), f"{prefix}{name}", known) for name in names}

    def _value(self, value: Any, where: str, known: Namespace) -> Any:
        match value:
            case None | bool() | str():
                return value
            case np.ndarray():
                return self._array(value, where)
            case np.generic():
                return {"scalar": [value.dtype.name, self._value(value.item(), where, known)]}
            case int():
                return value
            case float():
                return value if math.isfinite(value) else {"float": repr(value)}
            case bytes():
                return {"bytes": value.hex()}
            case BaseDataType():
                return {"datatype": value.name}
            case tuple():
                return self._items(value, where, known)
            case list():
                return {"list": self._items(value, where, known)}
            case dict():
                return {"dict": [self._items(pair, where, known) for pair in value.items()]}
        if isinstance(value, Kernel):
            return {"kernel": [value.op, self._kernel(value, where)]}
        kind = type(value).__name__
        if dataclasses.is_dataclass(value) and known.get(kind) is type(value):
            return {"dataclass": [kind, self._fields(value, f"{where}.", _names_of(type(value), known))]}
        raise BitfabricError(f"{where} is a {kind}, which cannot be stored in a build; see hw.graph_file for what can")

    def _items(self, values: Any, where: str, known: Namespace) -> list[Any]:
        return [self._value(each, f"{where}.{i}", known) for i, each in enumerate(values)]

    def _array(self, value: np.ndarray, where: str) -> dict[str, Any]:
        if value.dtype == object and all(isinstance(each, int) for each in value.flat):
            return {"integers": [list(value.shape), [int(each) for each in value.flat]]}
        if array_file.stored_as(value.dtype) is None:
            raise BitfabricError(f"{where} is an array of {value.dtype}, which cannot be stored in a build")
        while where in self.arrays:  # names of layers and fields may run together
            where += "'"
        self.arrays[where] = array_file.narrowed(value)
        return {"array": [where, value.dtype.name]}


class _Reader:
    """The inverse of _Writer. Each method raises _WrongError, or what a constructor raises."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.arrays = arrays

    def node(self, content: dict[str, Any]) -> Node:
        op = content.get("kernel")
        if not isinstance(op, str):
            raise _WrongError("it names no kernel")
        kernel = self._kernel((op, content.get("fields")), {})
        inputs, outputs = _strings(content, "inputs"), _strings(content, "outputs")
        if (len(inputs), len(outputs)) != (len(kernel.inputs()), len(kernel.outputs())):
            raise _WrongError(
                f"a {op} like this has {len(kernel.inputs())} inputs and {len(kernel.outputs())} outputs, not "
                f"{len(inputs)} and {len(outputs)}"
            )
        return Node(content["name"], kernel, inputs, outputs, _origin(content))

    def port(self, content: dict[str, Any]) -> Port:
        edge, dtype, shape, steps = (content.get(key) for key in ("edge", "dtype", "shape", "steps"))
        if not isinstance(edge, str) or not isinstance(dtype, str):
            raise _WrongError("its edge and data type must be strings")
        if not isinstance(shape, list) or not all(type(size) is int and size > 0 for size in shape):
            raise _WrongError(f"its shape is {shape!r}")
        if not isinstance(steps, list):
            raise _WrongError("it has no list of steps")
        if not _is_numpys(dtype):
            DataType[dtype]  # Raises KeyError for a name that is not QONNX's either.
        return Port(content["name"], edge, tuple(shape), dtype, tuple(map(self._step, steps)))

    def _step(self, content: Any) -> HostStep:
        op, operands, attributes = (content[key] for key in ("op", "operands", "attributes"))
        if op not in OPERATORS:
            raise _WrongError(f"the host has no operator {op!r}")
        read = self._value(operands, {}), self._value(attributes, {})
        if not all(isinstance(each, np.ndarray) for each in read[0]):
            raise _WrongError(f"an operand of {op} is no array")
        if not all(isinstance(each, tuple) and len(each) == 2 and isinstance(each[0], str) for each in read[1]):
            raise _WrongError(f"the attributes of {op} are not pairs of name and value")
        branches = content.get("branches", [])
        if not isinstance(branches, list) or not all(isinstance(branch, list) for branch in branches):
            raise _WrongError(f"the branches of {op} are no lists of steps")
        if (op == "Combine") != bool(branches) or (branches and dict(read[1]).get("by") not in COMBINERS):
            raise _WrongError(f"{op} has {len(branches)} branches, and combines them by {dict(read[1]).get('by')!r}")
        return HostStep(op, *read, tuple(tuple(map(self._step, branch)) for branch in branches))

    def _made(self, kind: Any, fields: Any, known: Namespace) -> Any:
        expected = [field.name for field in dataclasses.fields(kind) if field.init]
        if not isinstance(fields, dict) or sorted(fields) != sorted(expected):
            given = ", ".join(fields) if isinstance(fields, dict) else repr(fields)
            raise _WrongError(f"{kind.__name__} has the fields {', '.join(expected)}, not {given}")
        return kind(**{name: self._value(each, known) for name, each in fields.items()})

    def _value(self, content: Any, known: Namespace) -> Any:
        if isinstance(content, list):
            return tuple(self._value(each, known) for each in content)
        if not isinstance(content, dict):
            return content
        if len(content) != 1 or (tag := next(iter(content))) not in _TAGS:
            raise _WrongError(f"{', '.join(content) or 'an empty object'} is no kind of value")
        return _TAGS[tag](self, content[tag], known)

    def _array(self, content: Any, known: Namespace) -> np.ndarray:
        name, dtype = content
        if name not in self.arrays:
            raise _WrongError(f"{ARRAY_FILE} has no array {name!r}")
        stored, wanted = self.arrays[name], np.dtype(dtype)
        integers = stored.dtype.kind in "iu" and wanted.kind in "iu"
        if not (integers or stored.dtype == wanted) or array_file.stored_as(wanted) is None:
            raise _WrongError(f"array {name} is stored as {stored.dtype}, which is no {dtype}")
        made = stored.astype(wanted)
        if integers and not np.array_equal(made, stored):
            raise _WrongError(f"array {name} holds integers that are no {dtype}")
        return made

    def _integers(self, content: Any, known: Namespace) -> np.ndarray:
        shape, values = content
        if not all(type(each) is int for each in (*shape, *values)):
            raise _WrongError("an array of integers holds something else")
        made = np.empty(len(values), dtype=object)
        made[:] = values
        return made.reshape(shape)

    def _scalar(self, content: Any, known: Namespace) -> np.generic:
        dtype, value = content
        if array_file.stored_as(wanted := np.dtype(dtype)) is None:
            raise _WrongError(f"a number of the type {dtype}")
        return wanted.type(self._value(value, known))

    def _float(self, content: Any, known: Namespace) -> float:
        return float(content)

    def _bytes(self, content: Any, known: Namespace) -> bytes:
        return bytes.fromhex(content)

    def _datatype(self, content: Any, known: Namespace) -> BaseDataType:
        return DataType[content]

    def _listed(self, content: Any, known: Namespace) -> list[Any]:
        return [self._value(each, known) for each in content]

    def _dict(self, content: Any, known: Namespace) -> dict[Any, Any]:
        return {self._value(key, known): self._value(value, known) for key, value in content}

    def _kernel(self, content: Any, known: Namespace) -> Kernel:
        op, fields = content
        kind = kernels.get(op)
        made: Kernel = self._made(kind, fields, vars(sys.modules[kind.__module__]))
        return made

    def _dataclass(self, content: Any, known: Namespace) -> Any:
        name, fields = content
        kind = known.get(name)
        if not isinstance(kind, type) or not dataclasses.is_dataclass(kind):
            raise _WrongError(f"the kernel's module has no dataclass {name!r}")
        return self._made(kind, fields, _names_of(kind, known))


def _names_of(kind: type, known: Namespace) -> Namespace:
    """The names among which the classes of a dataclass's fields are found: those of its own module, and those
    ``known``."""
    return ChainMap(dict(known), vars(sys.modules[kind.__module__]))


_TAGS: Mapping[str, Callable[[_Reader, Any, Namespace], Any]] = MappingProxyType({
    "array": _Reader._array, "integers": _Reader._integers, "scalar": _Reader._scalar, "float": _Reader._float,
    "bytes": _Reader._bytes, "datatype": _Reader._datatype, "list": _Reader._listed, "dict": _Reader._dict,
    "dataclass": _Reader._dataclass, "kernel": _Reader._kernel,
})  # fmt: skip
"""Tag of a value that JSON does not have -> method that reads it."""


def _is_numpys(name: str) -> bool:
    """Whether a data type of NumPy's has this name."""
    try:
        return array_file.stored_as(np.dtype(name)) is not None
    except TypeError:
        return False


def _origin(content: dict[str, Any]) -> Origin:
    given = content.get("origin")
    if not isinstance(given, dict) or sorted(given) != ["module", "node"]:
        raise _WrongError("its origin is no node and module")
    if not all(isinstance(each, str) for each in given.values()):
        raise _WrongError("the names of its origin must be strings")
    return Origin(**given)


def _strings(content: dict[str, Any], key: str) -> tuple[str, ...]:
    values = content.get(key)
    if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
        raise _WrongError(f"its {key} are not a list of edges")
    return tuple(values)
