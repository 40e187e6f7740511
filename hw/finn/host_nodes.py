"""Conversion between host steps and ONNX or QONNX nodes: the parts of a FINN model before and after the hardware."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from hw.host.errors import BitfabricError
from hw.host.steps import HostStep, run, step
from hw.lowering import moves, node_steps
from hw.lowering.call import Call
from hw.lowering.constants import Constant
from hw.lowering.domains import QONNX_DOMAIN, operator_key
from hw.lowering.node_attributes import attribute

OPSET = 13
"""ONNX's operator set in FINN's dialect."""
Steps = tuple[HostStep, ...]


@dataclass
class HostNodes:
    """Nodes of one model, in order, and their constants. The names of both start with ``prefix``."""

    prefix: str
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    values: dict[str, np.ndarray] = field(default_factory=dict)
    """An example frame of every tensor; only its shape and type are used."""

    def write(self, source: str, frame: np.ndarray, steps: Iterable[HostStep], last: str) -> None:
        """Append nodes that compute ``last`` from ``source``, of which ``frame`` is an example, by ``steps``."""
        self.values[source] = frame
        current = self._steps(source, steps)
        self.node("Identity", current, output=last)
        self.values[last] = self.values[current]

    def _steps(self, source: str, steps: Iterable[HostStep]) -> str:
        """Append nodes that compute steps from ``source``; returns the name of the result."""
        current = source
        for each in steps:
            frame = self.values[current]
            current = WRITERS.get(each.op, HostNodes._plain)(self, each, current)
            self.values[current] = run((each,), frame)
        return current

    def node(self, op: str, *inputs: str | np.ndarray | float, output: str = "", domain: str = "", **given) -> str:
        """Append a node; inputs are names or constants. Returns the name of its output."""
        names = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        name = f"{self.prefix}{len(self.nodes)}"
        output = output or f"{name}_out"
        self.nodes.append(helper.make_node(op, names, [output], name=name, domain=domain, **given))
        return output

    def constant(self, value: np.ndarray | float) -> str:
        """Append a constant; returns its name."""
        name = f"{self.prefix}const{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def middle(self, like: str, value: np.ndarray) -> str:
        """Record an example of a tensor between the nodes of one step; returns its name."""
        self.values[like] = value
        return like

    # --- one step each ---

    def _plain(self, each: HostStep, source: str) -> str:
        self._check(each.op)
        dtype = self.values[source].dtype
        operands = [value.astype(dtype) if dtype.kind == "f" else value for value in each.operands]
        return self.node(each.op, source, *operands, **dict(each.attributes))

    def _combine(self, each: HostStep, source: str) -> str:
        by = str(dict(each.attributes)["by"])
        given: dict[str, Any] = {"fmod": 1} if by == "Mod" else {}
        self._check(by)
        return self.node(by, *(self._steps(source, branch) for branch in each.branches), **given)

    def _constant(self, each: HostStep, source: str) -> str:
        return self.constant(each(self.values[source]))

    def _is_inf(self, each: HostStep, source: str) -> str:
        signs: dict[str, Any] = {f"detect_{name}": int(on) for name, on in each.attributes}
        return self.node("IsInf", source, **signs)

    def _hard_swish(self, each: HostStep, source: str) -> str:
        numbers: dict[str, Any] = {"alpha": 1 / 6, "beta": 0.5}
        gate = self.node("HardSigmoid", source, **numbers)
        return self.node("Mul", source, self.middle(gate, self.values[source]))

    @staticmethod
    def _check(op: str) -> None:
        """Raise BitfabricError for an operator that ONNX does not have in the operator set of FINN's dialect."""
        if not onnx.defs.has(op, max_inclusive_version=OPSET):
            raise BitfabricError(f"{op} on the host has no form in opset {OPSET}, which FINN's dialect has")

    def _cast(self, each: HostStep, source: str) -> str:
        to = helper.np_dtype_to_tensor_dtype(np.dtype(dict(each.attributes)["to"]))
        return self.node("Cast", source, to=to)

    def _reshape(self, each: HostStep, source: str) -> str:
        return self.node("Reshape", source, np.array([1, *dict(each.attributes)["shape"]], np.int64))

    def _gather(self, each: HostStep, source: str) -> str:
        given = dict(each.attributes)
        return self.node("Gather", source, np.array(given["indices"], np.int64), axis=given["axis"])

    def _transpose(self, each: HostStep, source: str) -> str:
        return self.node("Transpose", source, perm=list(dict(each.attributes)["perm"]))

    def _batch_normalization(self, each: HostStep, source: str) -> str:
        dtype = self.values[source].dtype
        scale, bias, mean, variance = (value.astype(dtype) for value in each.operands)
        factor = scale / np.sqrt(variance + dtype.type(dict(each.attributes)["epsilon"]))
        scaled = self.middle(self.node("Mul", source, factor), self.values[source])
        return self.node("Add", scaled, bias - mean * factor)

    def _clip(self, each: HostStep, source: str) -> str:
        for op, bound in zip(("Max", "Min"), each.operands, strict=True):
            if np.any(np.isfinite(bound)):
                bound = bound.astype(self.values[source].dtype)
                source = self.middle(self.node(op, source, bound), self.values[source])
        return source

    def _quant(self, each: HostStep, source: str) -> str:
        """The codes: division by the scale and addition of the zero point, then QONNX's Quant with a scale of one."""
        dtype, given = self.values[source].dtype, dict(each.attributes)
        scale, zero_point = (value.astype(dtype) for value in each.operands)
        if np.any(scale != 1):
            source = self.middle(self.node("Div", source, scale), self.values[source])
        if np.any(zero_point != 0):
            source = self.middle(self.node("Add", source, zero_point), self.values[source])
        one, zero, bits = (np.array(value, np.float32) for value in (1, 0, given["bits"]))
        flags: dict[str, Any] = {"signed": int(given["signed"]), "narrow": int(given["narrow"])}
        mode = given["rounding_mode"]
        return self.node("Quant", source, one, zero, bits, domain=QONNX_DOMAIN, rounding_mode=mode, **flags)

    def _quantize_linear(self, each: HostStep, source: str) -> str:
        """The codes: division by the scale, rounding to even, addition of the zero point, saturation."""
        (scale, zero_point), given = each.operands, dict(each.attributes)
        example = self.values[source]
        if np.any(scale != 1):
            source = self.middle(self._plain(step("Div", scale), source), example)
        source = self.middle(self._plain(step("Round"), source), example)
        if np.any(zero_point != 0):
            source = self.middle(self._plain(step("Add", zero_point), source), example)
        return self._clip(step("Clip", given["low"], given["high"]), source)

    def _bipolar(self, each: HostStep, source: str) -> str:
        return self.node("BipolarQuant", source, np.array(1, np.float32), domain=QONNX_DOMAIN)

    def _multi_threshold(self, each: HostStep, source: str) -> str:
        (table,), given = each.operands, dict(each.attributes)
        wide = [axis for axis in range(1, table.ndim) if table.shape[axis] > 1]
        rank = self.values[source].ndim
        if len(wide) > 1:
            raise BitfabricError("MultiThreshold: thresholds differ along several axes; FINN has them by channel only")
        axis = wide[0] + rank - table.ndim if wide else 1
        layout = "".join("N" if i == 0 else "C" if i == axis else "H" for i in range(rank))
        rows = table.reshape(len(table), -1).T.astype(np.float32)
        numbers: dict[str, Any] = {"out_scale": float(given["unit"]), "out_bias": float(given["least"])}
        return self.node("MultiThreshold", source, rows, domain=QONNX_DOMAIN, data_layout=layout, **numbers)

    def _top_k(self, each: HostStep, source: str) -> str:
        given = dict(each.attributes)
        name = f"{self.prefix}{len(self.nodes)}"
        outputs = [f"{name}_values", f"{name}_indices"]
        self.nodes.append(
            helper.make_node(
                "TopK", [source, self.constant(np.array([given["k"]], np.int64))], outputs, name=name,
                axis=given["axis"], largest=int(given["largest"]),
            )
        )  # fmt: skip
        indices = step("TopK", **(given | {"output": 1 - given["output"]}))
        self.values[outputs[1 - given["output"]]] = indices(self.values[source])
        return outputs[given["output"]]

    def _arg_max(self, each: HostStep, source: str) -> str:
        given = dict(each.attributes)
        flags: dict[str, Any] = {"keepdims": int(given["keepdims"]), "select_last_index": int(given["last"])}
        return self.node("ArgMax", source, axis=given["axis"], **flags)

    def _trunc(self, each: HostStep, source: str) -> str:
        raise BitfabricError("Trunc on the host has no form in FINN's dialect; quantize with a Quant there")


WRITERS: dict[str, Callable[[HostNodes, HostStep, str], str]] = {
    "ArgMax": HostNodes._arg_max,
    "BatchNormalization": HostNodes._batch_normalization,
    "BipolarQuant": HostNodes._bipolar,
    "Cast": HostNodes._cast,
    "Clip": HostNodes._clip,
    "Combine": HostNodes._combine,
    "Constant": HostNodes._constant,
    "HardSwish": HostNodes._hard_swish,
    "IsInf": HostNodes._is_inf,
    "Gather": HostNodes._gather,
    "MultiThreshold": HostNodes._multi_threshold,
    "Quant": HostNodes._quant,
    "QuantizeLinear": HostNodes._quantize_linear,
    "Reshape": HostNodes._reshape,
    "TopK": HostNodes._top_k,
    "Transpose": HostNodes._transpose,
    "Trunc": HostNodes._trunc,
}
"""Writers of the steps whose node is not simply the operator with the step's operands and attributes."""


def steps_of(call: Call, output: str) -> Steps:
    """The host steps of one node's ``output``. Unlike in a QONNX model, a Cast is a step.

    Raises BitfabricError for a node that the host cannot compute.
    """
    node = call.node
    match node.op_type:
        case "Cast":
            return (step("Cast", to=helper.tensor_dtype_to_np_dtype(attribute(node, "to", 1)).name),)
        case "TopK":
            return node_steps.top_k(call, list(node.output).index(output))
        case "Gather":
            return moves.MOVES["Gather"](call, 0)
    if operator_key(node) in node_steps.TRANSLATIONS:
        return node_steps.TRANSLATIONS[operator_key(node)](call)
    raise BitfabricError(
        f"{node.name}: {node.op_type} has no form on the host; leave it out of FINN's graph, or use the QONNX file"
    )


def call_of(node: onnx.NodeProto, constants: dict[str, np.ndarray], shape: tuple[int, ...], version: int) -> Call:
    """A host's node with its constants; ``shape`` is that of its data, with a batch of one."""
    inputs = tuple(Constant(constants[name]) if name in constants else None for name in node.input)
    return Call(node, inputs, shape, _output_shape(node, constants, shape), version)


def _output_shape(node: onnx.NodeProto, constants: dict[str, np.ndarray], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The output shape of a node that only rearranges elements; for other nodes the input's shape."""
    frame = np.zeros(shape, np.int8)
    match node.op_type:
        case "Reshape":
            sizes = [shape[i] if size == 0 else int(size) for i, size in enumerate(constants[node.input[1]])]
            return frame.reshape(sizes).shape
        case "Gather":
            return np.take(frame, constants[node.input[1]], attribute(node, "axis", 0)).shape
        case "Flatten":
            axis = attribute(node, "axis", 1)
            return int(np.prod(shape[:axis])), int(np.prod(shape[axis:]))
        case "Squeeze" | "Unsqueeze":
            given = constants[node.input[1]] if len(node.input) > 1 else attribute(node, "axes", None)
            axes = tuple(int(axis) for axis in given) if given is not None else None
            if node.op_type == "Squeeze":
                return frame.squeeze(axes).shape
            return np.expand_dims(frame, axes or ()).shape
    return shape
