"""Indexing as PyTorch's exporter writes it, a GatherND between Transposes, as a Gather.

``x[:, indices]`` is exported as Transpose, which brings the indexed axes to the front, GatherND and Transpose back. The
first of them moves the batch, which no stream does; a Gather along the indexed axis computes the same. Indices of
several axes address one axis, which a Reshape makes of neighbours; others (``x[:, rows, :, cols]``) become neighbours
by a Transpose that leaves the batch first. ``table[indices]`` of a constant is a Gather too.
"""

from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper

from hw.lowering.domains import operator_key
from hw.lowering.node_attributes import attribute
from hw.lowering.refusal import lowering_error

KEY = "", "GatherND"
Axes = tuple[int, ...]


def with_gathers(model: ModelWrapper) -> ModelWrapper:
    """A loaded model with a Gather for every GatherND; the model itself where it has none.

    GatherND of a constant at computed places along all of its axes, of which there are several, stay: they are lookup
    tables (``hw.lowering.lookup_addresses``). Raises BitfabricError for one along the batch, and for computed
    places along some of several axes.
    """
    if all(operator_key(node) != KEY for node in model.graph.node):
        return model
    return ModelWrapper(_Rewriting(model).result(), fix_missing_initializer_valueinfo=False)


class _Rewriting:
    """The walk over a model's nodes that writes new ones."""

    def __init__(self, model: ModelWrapper) -> None:
        self.proto = onnx.ModelProto()
        self.proto.CopyFrom(model.model)
        self.graph = graph = self.proto.graph
        values = {each.name: each.type.tensor_type for each in (*graph.input, *graph.output, *graph.value_info)}
        self.shapes = {name: tuple(dim.dim_value for dim in each.shape.dim) for name, each in values.items()}
        self.types = {name: int(each.elem_type) for name, each in values.items()}
        self.constants = {each.name: each for each in graph.initializer}
        self.shapes |= {name: tuple(each.dims) for name, each in self.constants.items()}
        self.data = {value.name for value in graph.input} - self.constants.keys()
        self.outputs = {value.name for value in graph.output}
        self.producers = {name: node for node in graph.node for name in node.output}
        self.nodes: list[onnx.NodeProto] = []
        self.orders: dict[str, tuple[str, Axes]] = {}
        """Tensors that a Transpose writes -> what it reads, and the axes of that."""
        self.gathered: set[str] = set()
        """Tensors that are such an order of the result of a Gather written here."""
        self.batch_behind: dict[str, onnx.NodeProto] = {}
        """Tensors in which such an order has the batch behind another axis -> the GatherND that they are of."""
        self.same: dict[str, str] = {}
        """Tensors that are read no more -> the equal one that is."""

    def result(self) -> onnx.ModelProto:
        """The model with the new nodes."""
        for node in list(self.graph.node):
            read = onnx.NodeProto()
            read.CopyFrom(node)
            read.input[:] = [self.same.get(name, name) for name in node.input]
            if operator_key(node) == KEY:
                self._gather_nd(read)
            elif operator_key(node) == ("", "Transpose"):
                self._transpose(read)
            else:
                self.nodes.append(read)
            if not self.data.isdisjoint(read.input):
                self.data.update(node.output)
        needed, live = set(self.outputs), []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
                live.append(node)
                if (of := self.batch_behind.get(node.output[0])) is not None:
                    raise lowering_error(
                        of,
                        "its indices come before the batch in its result, as x[:, rows, :, columns] has it in PyTorch",
                        "transpose the batch to the front behind it",
                    )
        del self.graph.node[:]
        self.graph.node.extend(live[::-1])
        return self.proto

    def _transpose(self, node: onnx.NodeProto) -> None:
        """A Transpose; one behind a Gather written here is joined with the order of that."""
        source, perm = node.input[0], tuple(attribute(node, "perm", ()))
        perm = perm or tuple(reversed(range(len(self.shapes[source]))))
        if source in self.gathered:
            self.gathered.add(node.output[0])
            source, first = self.orders[source]
            perm = tuple(first[axis] for axis in perm)
        self._ordered(node, source, perm)

    def _ordered(self, node: onnx.NodeProto, source: str, perm: Axes) -> None:
        """Let ``source`` in an order of its axes be the output of ``node``."""
        [name] = node.output
        self.orders[name] = source, perm
        if perm != tuple(range(len(perm))):
            self._add("Transpose", [source], name, node, perm=perm)
        elif name in self.outputs:
            self._add("Identity", [source], name, node)
        else:
            self.same[name] = source

    def _gather_nd(self, node: onnx.NodeProto) -> None:
        data, indices = node.input
        if data in self.data:
            if indices not in self.constants:
                raise lowering_error(node, f"its indices ({indices}) are quantized", "store them as integers")
            self._selection(node, data, numpy_helper.to_array(self.constants[indices]))
            return
        *shape, count = self.shapes[indices]
        if count > 1:
            if count < len(self.shapes[data]):
                raise lowering_error(
                    node,
                    f"its indices address {count} axes of constants ({data}) of the shape {list(self.shapes[data])}",
                    "address one axis, or all of them",
                )
            self._constants_first(node)
            return
        writer = self.producers.get(indices)
        if (
            writer is not None
            and writer.op_type in ("Reshape", "Unsqueeze")
            and self.shapes[writer.input[0]] == tuple(shape)
        ):
            places = self.same.get(writer.input[0], writer.input[0])
        else:
            places = self._reshaped(node, indices, tuple(shape))
        self._add("Gather", [data, places], node.output[0], node, axis=0)

    def _constants_first(self, node: onnx.NodeProto) -> None:
        """A table whose axes of constant indices are the first ones, so that the entries that bits address are
        neighbours."""
        data, indices = node.input
        writer = self.producers.get(indices)
        last = len(self.shapes[indices]) - 1
        parts: list[str] = []
        if writer is not None and operator_key(writer) == ("", "Concat") and attribute(writer, "axis", 0) in (-1, last):
            parts = [self.same.get(name, name) for name in writer.input]
        order = sorted(range(len(parts)), key=lambda axis: parts[axis] not in self.constants)
        columns = len(parts) == self.shapes[indices][-1]
        if not columns or order == list(range(len(parts))) or data not in self.constants:
            self.nodes.append(node)
            return
        joined = self._name(f"{node.name}_indices", self.shapes[indices])
        self.types[joined] = self.types[indices]
        self._declare(joined)
        like = onnx.NodeProto(name=joined, metadata_props=node.metadata_props)
        self._add("Concat", [parts[axis] for axis in order], joined, like, axis=last)
        tables = np.transpose(numpy_helper.to_array(self.constants[data]), order)
        node.input[:] = [self._constant(node, "tables", tables), joined]
        self.nodes.append(node)

    def _selection(self, node: onnx.NodeProto, data: str, indices: np.ndarray) -> None:
        """Elements of computed data at constant places."""
        count, identity = indices.shape[-1], tuple(range(len(self.shapes[data])))
        source, perm = self.orders.get(data, (data, identity))
        axes, shape = perm[:count], self.shapes[source]
        if 0 in axes:
            raise lowering_error(node, "it works along the batch", "use another axis")
        together = axes == tuple(range(axes[0], axes[0] + count))
        before = identity[: axes[0]] if together else (0,)
        after = tuple(axis for axis in identity if axis not in (*before, *axes))
        first, sizes = len(before), tuple(shape[axis] for axis in axes)
        if not together:
            source = self._transposed(node, source, (*before, *axes, *after))
        columns = np.moveaxis(indices, -1, 0).astype(np.int64)
        places = sum(
            np.where(column < 0, column + size, column) * prod(sizes[number + 1 :])
            for number, (column, size) in enumerate(zip(columns, sizes, strict=True))
        )
        outer, inner = (tuple(shape[axis] for axis in part) for part in (before, after))
        if count > 1:
            source = self._reshaped(node, source, (*outer, prod(sizes), *inner))
        taken = range(first, first + indices.ndim - 1)
        gathered = self._name(f"{node.name}_gathered", (*outer, *indices.shape[:-1], *inner))
        self.types[gathered] = self.types[data]
        self._declare(gathered)
        self._add("Gather", [source, self._constant(node, "places", np.asarray(places))], gathered, node, axis=first)
        place = {axis: number for number, axis in enumerate(before)}
        place |= {axis: number for number, axis in enumerate(after, taken.stop)}
        self.gathered.add(node.output[0])
        named = onnx.NodeProto(name=f"{node.name}_order", output=node.output, metadata_props=node.metadata_props)
        order = (*taken, *(place[axis] for axis in perm[count:]))
        if order[0] != 0:
            self.batch_behind[node.output[0]] = node
        self._ordered(named, gathered, order)

    def _transposed(self, node: onnx.NodeProto, source: str, perm: Axes) -> str:
        """The tensor ``source`` with its axes in the order ``perm``."""
        name = self._name(f"{node.name}_transposed", tuple(self.shapes[source][axis] for axis in perm))
        self.types[name] = self.types[source]
        self._declare(name)
        named = onnx.NodeProto(name=name, metadata_props=node.metadata_props)
        self._add("Transpose", [source], name, named, perm=perm)
        return name

    def _reshaped(self, node: onnx.NodeProto, source: str, shape: Axes) -> str:
        """The tensor ``source`` in another shape."""
        name = self._name(f"{node.name}_reshaped", shape)
        self.types[name] = self.types[source]
        self._declare(name)
        named = onnx.NodeProto(name=name, metadata_props=node.metadata_props)
        self._add("Reshape", [source, self._constant(node, "shape", np.array(shape, np.int64))], name, named)
        return name

    def _constant(self, node: onnx.NodeProto, what: str, value: np.ndarray) -> str:
        name = self._name(f"{node.name}_{what}", value.shape)
        self.graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def _name(self, wanted: str, shape: Axes) -> str:
        """A name that no tensor has, for one of a shape."""
        name = wanted
        while name in self.shapes:
            name += "_"
        self.shapes[name] = shape
        return name

    def _declare(self, name: str) -> None:
        self.graph.value_info.append(helper.make_tensor_value_info(name, self.types[name], self.shapes[name]))

    def _add(self, op: str, inputs: list[str], output: str, like: onnx.NodeProto, **attributes: Any) -> None:
        """Write a node with the name and the properties of ``like``."""
        made = helper.make_node(op, inputs, [output], name=like.name, **attributes)
        made.metadata_props.extend(like.metadata_props)
        if not self.data.isdisjoint(inputs):
            self.data.add(output)
        self.nodes.append(made)
