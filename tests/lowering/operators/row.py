"""One row of the page of operators that can be read: an operator, its versions and conditions, and a model with it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import onnx
from onnx import helper

from hw.lowering.versions import QONNX_NEWEST, VERSIONS, since_version
from tests.builders.qonnx_builder import DOMAIN, Builder

OLDEST, NEWEST = 7, onnx.defs.onnx_opset_version()
"""The operator sets of ONNX that are read."""
QONNX_ROWS = 13
"""ONNX's operator set in the models of QONNX's own operators."""
CHANNELS_LAST = "qonnx.custom_op.channels_last"
Build: TypeAlias = Callable[[Builder, str, int], str]
"""Appends nodes that read a tensor, for an operator set; returns the name of their result."""
EXACT, ROUNDED, JOINED = "exact", "exact but for the last bit of the function", "exact but for float32's own rounding"
"""How equal the results are. JOINED: float32 can round two combinations of integers with the same exact sum apart.
ROUNDED: the function is none of additions, products and quotients (exp, tanh, ...), so
libraries differ in its last bit. A code can differ where that bit decides it, which a build counts and names."""

ULPS = 16
"""Units in the last place by which a function of several elements, as the host computes it, may differ."""


@dataclass(frozen=True)
class Row:
    """An operator with a model that has it.

    ``build`` appends it to a quantized tensor of ``shape``, whose quantizer has the scale and bits ``input``. A
    quantizer of scale and bits ``output`` follows; where it is None, the model ends in the operator, in ``elem_type``.
    The operator is read in this form in the operator sets ``since`` to ``until``.
    """

    op: str
    build: Build
    condition: str = ""
    shape: tuple[int, ...] = (1, 4)
    input: tuple[float, int] = (0.125, 6)
    output: tuple[float, int] | None = (0.25, 6)
    exactness: str = EXACT
    elem_type: int = onnx.TensorProto.FLOAT
    domain: str = ""
    since: int = 1
    until: int = NEWEST

    @property
    def versions(self) -> dict[int, int]:
        """The versions of the operator that are read, each with an operator set that has it."""
        key, found = (self.domain, self.op), {}
        # QONNX counts the versions of its own operators from 1; those with channels last have ONNX's numbers.
        known = range(1, QONNX_NEWEST + 1) if self.domain == DOMAIN else range(OLDEST, NEWEST + 1)
        for opset in known:
            version = since_version(key, opset) if self.since <= opset <= self.until else None
            if version in VERSIONS[key]:
                found.setdefault(version, opset)
        return found

    def model(self, opset: int) -> onnx.ModelProto:
        """The model in an operator set of the row's domain."""
        standard = QONNX_ROWS if self.domain == DOMAIN else opset
        b = Builder(self.shape)
        y = self.build(b, b.quant("x", self.input[0], self.input[1]), opset)
        if self.output is not None:
            y = b.quant(y, *self.output)
        model = b.model((y, ()), opset=standard)
        del model.graph.output[:]
        model.graph.output.append(helper.make_empty_tensor_value_info(y))
        model.graph.output[0].type.tensor_type.elem_type = self.elem_type
        # qonnx infers the shapes of its channels-last operators only behind tensors whose shape is stored.
        shapes = {"x": self.shape} | {each.name: tuple(each.dims) for each in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Quant" and node.input[0] in shapes:
                shape = shapes[node.input[0]]
                model.graph.value_info.append(helper.make_tensor_value_info(node.output[0], 1, shape))
        domains = {node.domain for node in model.graph.node} - {"", DOMAIN}
        model.opset_import.extend(helper.make_opsetid(domain, opset) for domain in sorted(domains))
        if self.domain == DOMAIN:
            next(each for each in model.opset_import if each.domain == DOMAIN).version = opset
        model.ir_version = 10
        return model
