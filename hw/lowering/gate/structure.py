"""The structure of a model's graph: sane names, every tensor defined and written once, nodes in topological order.

Only nodes on which an output depends are looked at closely. What no output needs is ignored.
"""

from collections import Counter

import onnx

from hw.host.errors import UsageError
from hw.lowering.gate.limits import MAX_NODES
from hw.lowering.gate.names import fault, printable

GRAPHS = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)


def node_names(graph: onnx.GraphProto) -> list[str]:
    """A unique name for each node: its own, or one with its operator and its number.

    Raises UsageError for a name, or the name of a tensor, that cannot be shown or used.
    """
    if len(graph.node) > MAX_NODES:
        raise UsageError(f"the model has {len(graph.node):,} nodes; models of up to {MAX_NODES:,} nodes are read")
    for what, entries in (("input", graph.input), ("output", graph.output), ("initializer", graph.initializer)):
        for entry in entries:
            if not entry.name or (wrong := fault(entry.name)):
                wrong = wrong if entry.name else "is empty"
                raise UsageError(f"{what} {printable(entry.name)}: its name {wrong}; export the model again")
    names: list[str] = []
    taken: set[str] = set()
    for number, node in enumerate(graph.node):
        if wrong := fault(node.op_type) or fault(node.domain):
            raise UsageError(f"node {number}: the name of its operator {wrong}; export the model again")
        if wrong := fault(node.name):
            raise UsageError(
                f"node {number} ({node.op_type}): its name {printable(node.name)} {wrong}; export the model again"
            )
        name = node.name
        if not name or name in taken:
            name = f"{node.name or node.op_type}_{number}"
        names.append(name)
        taken.add(name)
        for tensor in (*node.input, *node.output):
            if wrong := fault(tensor):
                raise UsageError(f"{name}: the name {printable(tensor)} of a tensor {wrong}; export the model again")
        for attribute in node.attribute:
            if wrong := fault(attribute.name):
                raise UsageError(f"{name}: the name {printable(attribute.name)} of an attribute {wrong}")
    return names


def live_nodes(graph: onnx.GraphProto, names: list[str]) -> list[int]:
    """The numbers of the nodes on which an output depends, in order.

    Raises UsageError for a tensor that is written twice or not at all, and for a cycle or another wrong order.
    """
    constants = _unique(graph)
    known = constants | {value.name for value in graph.input}
    writers: dict[str, int] = {}
    for number, node in enumerate(graph.node):
        for tensor in filter(None, node.output):
            if tensor in known:
                raise UsageError(
                    f"{names[number]}: it writes {tensor}, which is an input or initializer of the model; "
                    "give every tensor one source"
                )
            if tensor in writers:
                raise UsageError(
                    f"{names[number]}: it writes {tensor}, as {names[writers[tensor]]} does; give every tensor one "
                    "source"
                )
            writers[tensor] = number
    live: set[int] = set()
    pending = []
    for value in graph.output:
        if value.name in known:
            raise UsageError(
                f"output {value.name} is an input or initializer of the model; there is nothing to compute"
            )
        if value.name not in writers:
            raise UsageError(f"output {value.name} is written by no node; export the model again")
        pending.append(writers[value.name])
    while pending:
        number = pending.pop()
        if number in live:
            continue
        live.add(number)
        for tensor in filter(None, graph.node[number].input):
            if tensor in writers:
                pending.append(writers[tensor])
            elif tensor not in known:
                raise UsageError(
                    f"{names[number]}: its input {tensor} is written by no node and is no initializer; export the "
                    "model again"
                )
    ordered = sorted(live)
    for number in ordered:
        for tensor in graph.node[number].input:
            if tensor in writers and writers[tensor] >= number:
                _refuse_order(graph, names, writers, number, tensor)
    return ordered


def _unique(graph: onnx.GraphProto) -> set[str]:
    """The names of the initializers. Raises UsageError for one that exists twice, and for inputs or outputs that do."""
    if len(graph.sparse_initializer):
        name = printable(graph.sparse_initializer[0].values.name)
        raise UsageError(f"initializer {name} is sparse; export it as a dense tensor")
    for what, entries in (("initializer", graph.initializer), ("input", graph.input), ("output", graph.output)):
        name, count = Counter(entry.name for entry in entries).most_common(1)[0] if len(entries) else ("", 0)
        if count > 1:
            raise UsageError(f"{what} {name} is given {count} times; give every tensor one name")
    return {tensor.name for tensor in graph.initializer}


def _refuse_order(graph: onnx.GraphProto, names: list[str], writers: dict[str, int], number: int, tensor: str) -> None:
    """Raise UsageError for a node that reads a tensor before it is written: because of a cycle, or of the order."""
    seen: set[int] = set()
    pending = [writers[tensor]]
    while pending:
        at = pending.pop()
        if at == number:
            raise UsageError(
                f"{names[number]}: its input {tensor} depends on its own output (a cycle through "
                f"{names[writers[tensor]]}); a network has no loops: export it unrolled"
            )
        if at not in seen:
            seen.add(at)
            pending += [writers[each] for each in graph.node[at].input if each in writers]
    raise UsageError(
        f"{names[number]}: its input {tensor} is written by the later node {names[writers[tensor]]}; sort the nodes "
        "in topological order"
    )


def check_node(node: onnx.NodeProto, functions: set[tuple[str, str]]) -> None:
    """Raise UsageError for what no node may hold: a subgraph, an attribute twice, a function."""
    attributes = Counter(attribute.name for attribute in node.attribute)
    if attributes and (twice := attributes.most_common(1)[0])[1] > 1:
        raise UsageError(f"{node.name}: its attribute {twice[0]} is given {twice[1]} times; export the model again")
    for attribute in node.attribute:
        if attribute.type in GRAPHS:
            raise UsageError(
                f"{node.name}: {node.op_type} holds a subgraph ({attribute.name}); a network has no loops and branches "
                "that depend on data: export it unrolled"
            )
        if attribute.ref_attr_name:
            raise UsageError(
                f"{node.name}: its attribute {attribute.name} refers to a function's; export without functions"
            )
    if (node.domain, node.op_type) in functions:
        raise UsageError(
            f"{node.name}: {node.op_type} is a function that the model defines itself; export without functions "
            "(inline them)"
        )
