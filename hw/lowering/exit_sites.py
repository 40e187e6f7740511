"""Recognises early exits in ONNX's own operators, whoever wrote them (``docs/early-exit.md``).

A network with two heads gives, frame by frame, the logits of the first head where their margin reaches a threshold,
and those of the last head otherwise:

``Where(GreaterOrEqual(top1 - top2, threshold), first, last)``; top1 and top2 are the values of ``TopK(first, 2)``.

The nodes of a decision become one node of the domain DOMAIN that reads the logits of both heads.
"""

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper

from hw.lowering.domains import ONNX_DOMAINS
from hw.lowering.node_attributes import attribute
from hw.lowering.refusal import lowering_error

DOMAIN, DECISION = "bitfabric.exit", "Decision"
"""The domain and the operator of the nodes that stand for recognised decisions; no model file has them."""
COMPARISONS = {"GreaterOrEqual": True, "Greater": True, "LessOrEqual": False, "Less": False}
"""Comparisons of a margin with a threshold, and whether a large margin makes them true."""
SWAPPED = {"GreaterOrEqual": "LessOrEqual", "Greater": "Less", "LessOrEqual": "GreaterOrEqual", "Less": "Greater"}
SHAPES = frozenset({"Identity", "Squeeze", "Unsqueeze", "Reshape", "Flatten"})
"""Operators that do not change the only value of a frame."""
PASSED = frozenset({"Not", "Sub", "Slice", "Gather", "Split", "And", "Or", "Div", "Mul"})
"""Operators through which a condition is searched for a TopK."""
FORM = "write Where(GreaterOrEqual(top1 - top2, threshold), first, last), top1 and top2 the values of TopK(first, 2)"


@dataclass(frozen=True, eq=False)
class Site:
    """A decision of the model: its Where, the logits of both heads, and the comparison ``op`` of a margin with the
    ``threshold``, which is true for a frame that leaves if ``large``, and otherwise for one that goes on."""

    node: onnx.NodeProto
    first: str
    last: str
    op: str
    threshold: np.ndarray
    large: bool


class _Finder:
    """Looks for decisions in a loaded model, from its Where nodes on."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.producers = {name: node for node in graph.node for name in node.output if name}
        self.constants = {each.name: each for each in graph.initializer}

    def site(self, node: onnx.NodeProto) -> Site | None:
        """The decision of a Where; None if its condition has nothing to do with a TopK of two values.

        Raises BitfabricError for a condition of such a TopK that has another form.
        """
        if node.op_type != "Where" or node.domain not in ONNX_DOMAINS or any(n in self.constants for n in node.input):
            return None
        if not self._reads_top_two(node.input[0]):
            return None
        condition, inverted = self._plain(node.input[0]), False
        while condition is not None and condition.op_type == "Not":
            condition, inverted = self._plain(condition.input[0]), not inverted
        if condition is None or condition.op_type not in COMPARISONS:
            raise lowering_error(node, "its condition compares no margin with a threshold", FORM)
        op, sides = condition.op_type, list(condition.input)
        if sides[0] in self.constants:
            op, sides = SWAPPED[op], sides[::-1]
        threshold = self._constant(sides[1])
        if threshold is None or threshold.size != 1:
            raise lowering_error(condition, "its threshold is no constant number", FORM)
        margin = self._plain(sides[0])
        if margin is None or margin.op_type != "Sub":
            raise lowering_error(condition, "it compares no difference of two values", FORM)
        one, other = (self._place(name) for name in margin.input)
        if one is None or other is None or one[0] is not other[0] or (one[1], other[1]) != (0, 1):
            raise lowering_error(margin, "it is no difference of the largest value and the second largest", FORM)
        top, large = one[0].input[0], COMPARISONS[op] != inverted
        first, last = node.input[1:] if large else node.input[2:0:-1]
        if top != first:
            raise lowering_error(
                node, f"its confidence is that of {top}, but frames leave with {first}", "take the same tensor for both"
            )
        return Site(node, first, last, op, threshold.reshape(()), COMPARISONS[op])

    def _plain(self, name: str) -> onnx.NodeProto | None:
        """The node that computes a tensor, behind those that only change its shape; None for inputs and constants."""
        node = self.producers.get(name)
        while node is not None and node.op_type in SHAPES:
            node = self.producers.get(node.input[0])
        return node

    def _constant(self, name: str) -> np.ndarray | None:
        each = self.constants.get(name)
        return None if each is None else numpy_helper.to_array(each)

    def _top_two(self, node: onnx.NodeProto) -> bool:
        count = self._constant(node.input[1]) if len(node.input) > 1 else np.array(attribute(node, "k", 1))
        return node.op_type == "TopK" and count is not None and count.size == 1 and int(count.ravel()[0]) == 2

    def _reads_top_two(self, name: str) -> bool:
        """Whether a condition follows from the values of a TopK of two by element-wise operators and moves."""
        pending, seen = [name], set()
        while pending:
            node = self.producers.get(pending.pop())
            if node is None or id(node) in seen:
                continue
            seen.add(id(node))
            if self._top_two(node):
                return True
            if node.op_type in SHAPES | PASSED | COMPARISONS.keys():
                pending.extend(node.input)
        return False

    def _place(self, name: str) -> tuple[onnx.NodeProto, int] | None:
        """The TopK and the number (0 or 1) of a value that is taken from it; None for other tensors."""
        node = self._plain(name)
        if node is None:
            return None
        if node.op_type == "Split":
            top, sizes = self._plain(node.input[0]), [1] * len(node.output)
            at = list(node.output).index(self._origin(name))
            found = at if len(sizes) == 2 and _axis(node, 0) in (1, -1) else None
        elif node.op_type == "Gather":
            top, index = self._plain(node.input[0]), self._constant(node.input[1])
            found = None if index is None or index.size != 1 or _axis(node, 0) not in (1, -1) else int(index.ravel()[0])
        elif node.op_type == "Slice":
            top, found = self._plain(node.input[0]), self._sliced(node)
        else:
            return None
        if top is None or found is None or not self._top_two(top) or self._is_other(node.input[0], top):
            return None
        if _axis(top, -1) not in (1, -1) or not attribute(top, "largest", 1) or not attribute(top, "sorted", 1):
            return None
        return top, found % 2

    def _origin(self, name: str) -> str:
        """The output of the first node, towards the inputs, that does more than change a shape."""
        node = self.producers[name]
        while node.op_type in SHAPES:
            name = node.input[0]
            node = self.producers[name]
        return name

    def _is_other(self, name: str, top: onnx.NodeProto) -> bool:
        """Whether a tensor is another output of a TopK than its values."""
        return self._origin(name) != top.output[0]

    def _sliced(self, node: onnx.NodeProto) -> int | None:
        """The place of the only element that a Slice takes of two; None if it takes another part."""
        if len(node.input) == 1:
            parts = [np.array(attribute(node, name, default)) for name, default in (("starts", ()), ("ends", ()))]
            parts.append(np.array(attribute(node, "axes", range(len(parts[0])))))
        else:
            given = [self._constant(name) for name in node.input[1:]]
            if any(each is None for each in given) or len(given) < 3:
                return None
            parts = [each for each in given if each is not None]
        if len(parts) > 3 and np.any(parts[3] != 1):
            return None
        if any(part.size != 1 for part in parts[:3]) or int(parts[2].ravel()[0]) not in (1, -1):
            return None
        taken = list(range(2))[int(parts[0].ravel()[0]) : int(parts[1].ravel()[0])]
        return taken[0] if len(taken) == 1 else None


def _axis(node: onnx.NodeProto, default: int) -> int:
    return int(attribute(node, "axis", default))


def decided(model: ModelWrapper) -> tuple[ModelWrapper, dict[str, Site]]:
    """The model with every decision as one node, and the decisions by the tensors that they give; the model itself
    where it has none. Raises BitfabricError for a condition that is nearly one."""
    finder = _Finder(model.graph)
    found = (finder.site(node) for node in model.graph.node if node.op_type == "Where")
    sites = {site.node.output[0]: site for site in found if site is not None}
    if not sites:
        return model, sites
    needed, nodes = {value.name for value in model.graph.output}, []
    for node in reversed(model.graph.node):
        if needed.isdisjoint(node.output):
            continue
        site = sites.get(node.output[0])
        if site is not None:
            ends = [site.first, site.last], list(node.output)
            node = helper.make_node(DECISION, *ends, name=node.name, domain=DOMAIN)
        needed.update(node.input)
        nodes.append(node)
    proto = onnx.ModelProto()
    proto.CopyFrom(model.model)
    del proto.graph.node[:]
    proto.graph.node.extend(nodes[::-1])
    return ModelWrapper(proto, fix_missing_initializer_valueinfo=False), sites
