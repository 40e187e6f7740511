"""The walk over a model's nodes that infers shapes and folds constants, each node once and in order.

Shapes follow from the rules of the operators that can be lowered, which check attributes and operands at the same time.
A node whose inputs are all constant is computed and disappears, except for quantizers: lowering needs their integers.
ONNX's own shape inference is asked only about operators of other packages (``native``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from math import prod

import numpy as np
import onnx

from hw.lowering.constant_folding import evaluate
from hw.lowering.domains import (
    CHANNELS_LAST_DOMAIN,
    LINEAR_OPS,
    ORT_DOMAIN,
    QONNX_DOMAIN,
    OperatorKey,
    operator_key,
)
from hw.lowering.gate import channels_last, elementwise, layout, linear_quantizers, native, spatial, widths
from hw.lowering.gate.boundary import boundary
from hw.lowering.gate.limits import MAX_FOLDED, MAX_WORK
from hw.lowering.gate.schema import check_attributes, check_linear, check_quantizer, check_schema
from hw.lowering.gate.site import Rule, Shape, Site, Tensor
from hw.lowering.gate.tensors import check_shape
from hw.lowering.versions import check_version, since_version

RULES: Mapping[OperatorKey, Rule] = {
    **{("", op): rule for op, rule in {**elementwise.RULES, **spatial.RULES, **layout.RULES}.items()},
    **{(QONNX_DOMAIN, op): rule for op, rule in elementwise.QUANTIZERS.items()},
    **{(domain, op): rule for op, rule in linear_quantizers.RULES.items() for domain in ("", ORT_DOMAIN)},
    **{(CHANNELS_LAST_DOMAIN, op): rule for op, rule in channels_last.RULES.items()},
}
"""The rules of all operators that can be lowered, and of Shape and Size."""
UNBOUNDED = frozenset({
    "Clip", "Min", "Max", "MultiThreshold", "Where", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual",
})  # fmt: skip
"""Operators whose constants may be infinite."""


ANY_INPUT = frozenset({
    "Add", "Sub", "Mul", "Div", "Min", "Max", "Sum", "Mean", "Pow", "Mod", "PRelu", "Where", "And", "Or", "Xor",
    "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Concat", "MatMul", "Gemm", "Conv",
    "ConvTranspose", "Gather", "GatherND",
})  # fmt: skip
"""Operators that can be given data by other inputs than the first; handlers say which of them they lower."""


REDUCTIONS = frozenset({("", "ReduceSum"), ("", "ReduceMean"), ("", "ReduceMax")})
"""Operators that return their input where they reduce no axis."""


def _make_identity(node: onnx.NodeProto) -> None:
    """Make an Identity of a node, which keeps its name."""
    node.op_type = "Identity"
    del node.input[1:]
    del node.attribute[:]


@dataclass(eq=False)
class Inference:
    """The state of the walk: what is known of each tensor, the nodes that stay, and the constants that were folded.

    ``versions`` are the operator sets by domain; ``declared``, the shapes and types of tensors that the file states,
    for operators without inference. Nodes have passed ``hw.lowering.gate.operators``.
    """

    versions: Mapping[str, int]
    tensors: dict[str, Tensor]
    declared: Mapping[str, tuple[Shape, int]]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    folded: dict[str, np.ndarray] = field(default_factory=dict)
    elements: int = 0
    work: int = 0

    def visit(self, node: onnx.NodeProto) -> None:
        """Check one node, infer the shapes of its outputs, and fold it if it is constant."""
        with boundary(f"{node.name}: {node.op_type}"):
            key = operator_key(node)
            version = self.versions.get(key[0], 1)
            check_version(node, key, version)
            inputs = tuple(self.tensors[name] if name else None for name in node.input)
            site = Site(node, inputs, version)
            check_attributes(site)
            self._visit(site, key)

    def _visit(self, site: Site, key: OperatorKey) -> None:
        rule = RULES.get(key)
        data = any(tensor is not None and tensor.data for tensor in site.inputs)
        if key[0] in ("", CHANNELS_LAST_DOMAIN) and (rule is not None or not data):
            check_schema(site, since_version(key, site.version) or site.version)
        elif rule is not None:
            (check_linear if key[0] == ORT_DOMAIN else check_quantizer)(site)
        if rule is None and data:  # An operator of another package.
            rule = partial(native.infer, declared=self.declared)
        if data and site.node.op_type in ("Shape", "Size") and key[0] == "":
            self._fold(site, (self._shape_value(site),))
            return
        if data and key in RULES and site.node.op_type not in ANY_INPUT:
            self._check_data(site)
        outputs = None if rule is None else rule(site)
        if outputs is not None:
            self._check_sizes(site, outputs, data)
        constant = not data and key[0] != QONNX_DOMAIN and key[1] not in LINEAR_OPS
        if constant and all(tensor is None or tensor.value is not None for tensor in site.inputs):
            values = [None if tensor is None else tensor.value for tensor in site.inputs]
            self._fold(site, evaluate(site.node, values, site.version))
            return
        if outputs is None:
            outputs = self._shapes_by_example(site)
        self._check_finite(site, data)
        width = widths.check(site, data)
        if key in REDUCTIONS and spatial.keeps_all_axes(site):
            _make_identity(site.node)
        self.nodes.append(site.node)
        for name, (shape, elem_type) in zip(site.node.output, outputs, strict=False):
            if name:
                self.tensors[name] = Tensor(shape, elem_type, None, data, *width)
        if unknown := [name for name in site.node.output if name and name not in self.tensors]:
            raise site.error(f"its output {unknown[0]} is none that {site.node.op_type} has")

    @staticmethod
    def _check_data(site: Site) -> None:
        for name, tensor in zip(site.node.input[1:], site.inputs[1:], strict=True):
            if tensor is not None and tensor.data:
                raise site.error(
                    f"its input {name} is computed while running",
                    "feed it data by its first input only",
                )

    def _fold(self, site: Site, values: tuple[np.ndarray, ...]) -> None:
        for name, value in zip(site.node.output, values, strict=False):
            self.elements += value.size
            if self.elements > MAX_FOLDED:
                raise site.error(
                    f"the constants computed up to it have more than {MAX_FOLDED:,} elements", "export them folded"
                )
            if name:
                elem_type = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
                self.folded[name] = value
                self.tensors[name] = Tensor(value.shape, elem_type, value)

    def _check_sizes(self, site: Site, outputs: list[tuple[Shape, int]], data: bool) -> None:
        for name, (shape, _) in zip(site.node.output, outputs, strict=False):
            check_shape(shape, f"{site.node.name}: its output {name}")
            if data and not prod(shape):
                raise site.error(f"its output {name} of shape {list(shape)} has no elements")
        self.work += spatial.work(site, outputs)
        if self.work > MAX_WORK:
            raise site.error(
                f"the layers up to it need more than {MAX_WORK:,} operations for a frame", "use a smaller network"
            )

    @staticmethod
    def _shape_value(site: Site) -> np.ndarray:
        shape = site.shape()
        if site.node.op_type == "Size":
            return np.array(prod(shape), np.int64)
        start, end = site.integer("start", 0), site.get("end", onnx.AttributeProto.INT)
        return np.array(shape[slice(start, end)], np.int64)

    def _shapes_by_example(self, site: Site) -> list[tuple[Shape, int]]:
        """The shapes of an operator without a rule on quantized constants, which are folded when they are lowered."""
        values = []
        for tensor in site.inputs:
            known = None if tensor is None else tensor.value
            if tensor is not None and known is None:
                known = np.zeros(tensor.shape, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
            values.append(known)
        results = evaluate(site.node, values, site.version)
        return [(each.shape, onnx.helper.np_dtype_to_tensor_dtype(each.dtype)) for each in results]

    def _check_finite(self, site: Site, data: bool) -> None:
        for name, tensor in zip(site.node.input, site.inputs, strict=True):
            if tensor is None or tensor.value is None or tensor.value.dtype.kind != "f":
                continue
            if np.isnan(tensor.value).any():
                raise site.error(f"its constant {name} holds NaN", "check the training")
            if site.node.op_type not in UNBOUNDED and not np.isfinite(tensor.value).all():
                raise site.error(f"its constant {name} is not finite", "check the training")
