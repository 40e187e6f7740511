"""Recognises layers of experts in ONNX's own operators, whoever wrote them (``docs/experts.md``).

One of several matrices, chosen by an ArgMax of each frame, multiplies the frame:

``MatMul(Gather(weights, ArgMax(logits)), Unsqueeze(x))``, or ``MatMul(Unsqueeze(x), Gather(weights, ArgMax(logits)))``.

``weights`` (experts, outputs, inputs), or with the last two axes exchanged, are constants. The nodes of such a product
become one node of the domain DOMAIN, which reads x, the weights and the logits.
"""

from dataclasses import dataclass

import onnx
from onnx import helper
from qonnx.core.modelwrapper import ModelWrapper

from hw.host.errors import BitfabricError
from hw.lowering.domains import ONNX_DOMAINS
from hw.lowering.node_attributes import attribute
from hw.lowering.refusal import lowering_error

DOMAIN, PRODUCT = "bitfabric.experts", "ExpertMatMul"
"""The domain and the operator of the nodes that stand for recognised products; no model file has them."""
SHAPES = frozenset({"Squeeze", "Unsqueeze", "Reshape", "Flatten"})
"""Operators that make a column or a row of a vector, and the other way round."""
INDICES = frozenset({"Identity", "Cast", "Squeeze", "Reshape", "Flatten"})
"""Operators that do not change the only index of a frame."""
FORM = (
    "write MatMul(Gather(weights, ArgMax(logits)), Unsqueeze(x)), with constant weights (experts, outputs, inputs) and "
    "the experts on axis 0, or multiply data by constant weights only"
)


@dataclass(frozen=True)
class Site:
    """A product of the model: its MatMul ``node``, the vector, the weights and the logits of the gate by name.

    ``transposed``: the weights are (experts, inputs, outputs)."""

    node: onnx.NodeProto
    vector: str
    weights: str
    logits: str
    result: str
    transposed: bool


class _Finder:
    """Looks for products of experts in a loaded model."""

    def __init__(self, model: ModelWrapper) -> None:
        graph, self.model = model.graph, model
        self.producers = {name: node for node in graph.node for name in node.output if name}
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        self.data = {value.name for value in graph.input} - {each.name for each in graph.initializer}
        for node in graph.node:
            for name in dict.fromkeys(node.input):
                self.readers.setdefault(name, []).append(node)
            if not self.data.isdisjoint(node.input):
                self.data.update(node.output)
        self.outputs = {value.name for value in graph.output}

    def site(self, node: onnx.NodeProto) -> Site | None:
        """The product of a MatMul of two factors that are computed; None for other nodes.

        Raises BitfabricError for a product of another form.
        """
        if node.op_type != "MatMul" or node.domain not in ONNX_DOMAINS or not all(n in self.data for n in node.input):
            return None
        sides = [self._gathered(name) for name in node.input]
        if (sides[0] is None) == (sides[1] is None):
            factors = ", ".join(node.input)
            raise lowering_error(node, f"both its factors ({factors}) are computed while running", FORM)
        left = sides[0] is not None
        gather, turned = sides[0] or sides[1]  # type: ignore[misc]
        if attribute(gather, "axis", 0) != 0 or len(self._shape(gather.input[0])) != 3:
            raise self._other(gather, "its weights are no matrices with the experts on axis 0")
        logits = self._logits(gather)
        vector, result = self._vector(node, node.input[int(left)], left), self._result(node)
        # A matrix on the left is (outputs, inputs), on the right (inputs, outputs).
        return Site(node, vector, gather.input[0], logits, result, turned if left else not turned)

    def _gathered(self, name: str) -> tuple[onnx.NodeProto, bool] | None:
        """The Gather of constants that a factor comes from, and whether its matrices are transposed behind it."""
        node, turned = self.producers.get(name), False
        while node is not None and node.op_type == "Transpose":
            if list(attribute(node, "perm", ())) != [0, 2, 1]:
                return None
            node, turned = self.producers.get(node.input[0]), not turned
        if node is None or node.op_type != "Gather" or node.input[0] in self.data:
            return None
        return node, turned

    def _logits(self, gather: onnx.NodeProto) -> str:
        """The logits whose ArgMax is the index of a Gather."""
        name = gather.input[1]
        node = self.producers.get(name)
        while node is not None and node.op_type in INDICES:
            node = self.producers.get(node.input[0])
        if node is None or node.op_type != "ArgMax":
            raise self._other(gather, f"its index {name} is no ArgMax")
        shape = self._shape(node.input[0])
        if len(shape) != 2 or attribute(node, "axis", 0) not in (1, -1):
            raise self._other(node, f"it chooses along another axis than that of the logits (1, experts), {shape}")
        if attribute(node, "select_last_index", 0):
            raise self._other(node, "it takes the last of equal logits")
        experts = self._shape(gather.input[0])[0]
        if shape[1] != experts:
            raise self._other(gather, f"there are {experts} matrices for the {shape[1]} logits of {node.name}")
        return node.input[0]

    def _vector(self, product: onnx.NodeProto, name: str, left: bool) -> str:
        """The vector (1, inputs) that a factor (1, inputs, 1), or on the left side (1, 1, inputs), is."""
        shape = self._shape(name)
        size = shape[1] if left else shape[-1]
        if shape != ((1, size, 1) if left else (1, 1, size)):
            raise self._other(product, f"its factor {name} of shape {shape} is no vector of a frame")
        node = self.producers.get(name)
        while node is not None and node.op_type in SHAPES and self._shape(name) != (1, size):
            name = node.input[0]
            node = self.producers.get(name)
        if self._shape(name) != (1, size):
            raise self._other(product, f"its factor {name} is made of no vector (1, {size})")
        return name

    def _result(self, product: onnx.NodeProto) -> str:
        """The vector (1, outputs) that the product becomes."""
        name = product.output[0]
        size = max(self._shape(name))
        while self._shape(name) != (1, size):
            readers = self.readers.get(name, [])
            if len(readers) != 1 or readers[0].op_type not in SHAPES or name in self.outputs:
                raise self._other(product, f"its result {name} of shape {self._shape(name)} is read as it is")
            name = readers[0].output[0]
        return name

    def _shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.model.get_tensor_shape(name) or ())

    def _other(self, node: onnx.NodeProto, why: str) -> BitfabricError:
        return lowering_error(node, why, FORM)


def with_experts(model: ModelWrapper) -> tuple[ModelWrapper, dict[str, Site]]:
    """The model with every product of experts as one node, and the products by the tensors that they give; the model
    itself where it has none. Raises BitfabricError for a product of computed factors that has another form."""
    finder = _Finder(model)
    sites = {site.result: site for node in model.graph.node if (site := finder.site(node)) is not None}
    if not sites:
        return model, sites
    proto = onnx.ModelProto()
    proto.CopyFrom(model.model)
    products = {site.node.name: site for site in sites.values()}
    written = set(sites)
    nodes = []
    for node in proto.graph.node:
        site = products.get(node.name)
        if site is not None:
            made = helper.make_node(
                PRODUCT, [site.vector, site.weights, site.logits], [site.result], name=node.name, domain=DOMAIN
            )
            made.metadata_props.extend(node.metadata_props)
            nodes.append(made)
        elif written.isdisjoint(node.output):
            nodes.append(node)
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    return ModelWrapper(proto, fix_missing_initializer_valueinfo=False), sites
