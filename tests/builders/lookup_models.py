"""Random lookup networks in ONNX's own operators, in the spellings that exporters choose."""

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.builders.qonnx_builder import Builder

COMPARED = ("GreaterOrEqual", "Greater", "Not Less", "Less", "LessOrEqual", "turned")
"""Ways to compare a feature with a level; ``turned`` has the level first."""
ENCODED = ("gather", "unsqueeze", "tile")
"""Ways to repeat a feature for its levels."""
SUMMED = ("vector", "column", "product", "left", "terms")
"""Ways to multiply bits with 1, 2, 4, ... and to add."""
ENDS = ("scores", "arg max", "bits")


@dataclass(frozen=True)
class LookupModel:
    """What a random lookup network is made of. ``layers`` are the outputs and the inputs of a table of each layer."""

    seed: int = 0
    features: int = 5
    levels: int = 3
    bits: int = 4
    signed: bool = False
    layers: tuple[tuple[int, int], ...] = ((12, 4),)
    classes: int = 3
    compared: str = "GreaterOrEqual"
    encoded: str = "gather"
    summed: str = "vector"
    number: int = TensorProto.INT64
    table_number: int = TensorProto.INT64
    negative_axes: bool = False
    end: str = "scores"
    image: bool = False
    temperature: float = 1.0
    opset: int = 13

    @property
    def shape(self) -> tuple[int, ...]:
        """One frame of the input."""
        return (1, self.features, 1) if self.image else (self.features,)

    @property
    def input_type(self) -> str:
        return f"{'' if self.signed else 'U'}INT{self.bits}"

    def frames(self, count: int) -> np.ndarray:
        """Random frames, with the ends of the range."""
        low, high = (-(1 << self.bits - 1), (1 << self.bits - 1) - 1) if self.signed else (0, (1 << self.bits) - 1)
        made = np.random.default_rng(self.seed + 1).integers(low, high, (count, *self.shape), endpoint=True)
        made[:2] = np.reshape([low, high], (2, *[1] * len(self.shape)))
        return made.astype(np.float32)

    def model(self) -> onnx.ModelProto:
        """The network as a model."""
        b = LookupBuilder((1, *self.shape), self)
        x = "x"
        if self.image:
            x = b.node("Flatten", x)
        bits, count = b.encoder(x)
        for outputs, inputs in self.layers:
            bits = b.layer(bits, count, outputs, inputs)
            count = outputs
        b.annotate("x", self.input_type)
        return b.ended(bits, count)


def lookup_models() -> tuple[bytes, ...]:
    """Small valid networks of every spelling, as files, for the fuzz tests."""
    specs = [
        LookupModel(
            seed=seed,
            compared=COMPARED[seed % len(COMPARED)],
            encoded=ENCODED[seed % len(ENCODED)],
            summed=SUMMED[seed % len(SUMMED)],
            number=(TensorProto.FLOAT, TensorProto.INT64)[seed % 2],
            layers=((12, 4), (6, 3)),
            end=ENDS[seed % len(ENDS)],
            image=bool(seed % 2),
            opset=(13, 17, 21)[seed % 3],
        )
        for seed in range(10)
    ]
    return tuple(spec.model().SerializeToString() for spec in specs)


class LookupBuilder(Builder):
    """Appends the parts of lookup networks, in the spelling of ``spec``."""

    def __init__(self, shape: tuple[int, ...], spec: LookupModel) -> None:
        super().__init__(shape)
        self.spec, self.rng = spec, np.random.default_rng(spec.seed)

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(helper.tensor_dtype_to_np_dtype(self.spec.number))

    def int64(self, values) -> str:
        return self.constant(values, np.int64)

    def axis(self, axis: int, rank: int) -> int:
        return axis - rank if self.spec.negative_axes else axis

    def axes_node(self, op: str, x: str, axis: int, **attributes) -> str:
        """A node whose axes are an attribute before opset 13."""
        if self.spec.opset < 13:
            return self.node(op, x, axes=[axis], **attributes)
        return self.node(op, x, self.int64([axis]), **attributes)

    def encoder(self, x: str) -> tuple[str, int]:
        """Bits of the features, and how many there are."""
        spec, rng = self.spec, self.rng
        low = -(1 << spec.bits - 1) if spec.signed else 0
        levels = rng.integers(2 * low - 2, 2 * (low + (1 << spec.bits)) + 2, (spec.features, spec.levels)) / 2
        count = levels.size
        if spec.encoded == "gather":
            features = rng.permutation(np.repeat(np.arange(spec.features), spec.levels))
            bits = self.compare(self.node("Gather", x, self.int64(features), axis=self.axis(1, 2)), levels.ravel())
        elif spec.encoded == "unsqueeze":
            bits = self.compare(self.axes_node("Unsqueeze", x, self.axis(2, 3)), levels)
        else:
            wide = self.node("Tile", self.axes_node("Unsqueeze", x, 2), self.int64([1, 1, spec.levels]))
            bits = self.compare(wide, levels)
        kind = spec.number if spec.encoded != "tile" else TensorProto.FLOAT
        bits = self.node("Cast", bits, to=kind)
        if spec.encoded != "gather":
            bits = self.node("Reshape", bits, self.int64([-1, count]))
        return (bits if kind == spec.number else self.node("Cast", bits, to=spec.number)), count

    def compare(self, x: str, levels: np.ndarray) -> str:
        match self.spec.compared:
            case "Not Less":
                return self.node("Not", self.node("Less", x, levels))
            case "turned":
                return self.node("Less", levels, x)
            case op:
                return self.node(op, x, levels)

    def layer(self, bits: str, channels: int, outputs: int, inputs: int) -> str:
        """A layer of tables of random contents and wires."""
        rng, starts = self.rng, np.arange(outputs) << inputs
        tables = rng.integers(0, 2, outputs << inputs)
        x = self.node("Gather", bits, self.int64(rng.integers(0, channels, (outputs, inputs))), axis=self.axis(1, 2))
        address = self.node("Add", self.address(x, inputs), self.constant(starts, self.dtype))
        if self.spec.number != TensorProto.INT64:
            address = self.node("Cast", address, to=TensorProto.INT64)
        kind = self.spec.table_number
        contents = self.constant(tables, helper.tensor_dtype_to_np_dtype(kind))
        y = self.node("Gather", contents, address, axis=self.axis(0, 1))
        return y if kind == self.spec.number else self.node("Cast", y, to=self.spec.number)

    def address(self, x: str, inputs: int) -> str:
        """The addresses of tables, of bits (N, O, K)."""
        powers = self.constant(1 << np.arange(inputs), self.dtype)
        match self.spec.summed:
            case "vector":
                return self.node("MatMul", x, powers)
            case "column":
                column = self.constant(1 << np.arange(inputs)[:, None], self.dtype)
                return self.axes_node("Squeeze", self.node("MatMul", x, column), self.axis(2, 3))
            case "product":
                return self.axes_node("ReduceSum", self.node("Mul", x, powers), self.axis(2, 3), keepdims=0)
            case "left":
                return self.node("MatMul", powers, self.node("Transpose", x, perm=[0, 2, 1]))
            case _:
                total = ""
                for j in range(inputs):
                    bit = self.node("Gather", x, self.constant(j, np.int64), axis=self.axis(2, 3))
                    term = self.node("Mul", bit, self.constant(1 << j, self.dtype))
                    total = self.node("Add", total, term) if total else term
                return total

    def counted(self, bits: str, count: int) -> str:
        """The number of ones of each class."""
        shape = self.int64([-1, self.spec.classes, count // self.spec.classes])
        return self.axes_node("ReduceSum", self.node("Reshape", bits, shape), self.axis(2, 3), keepdims=0)

    def ended(self, bits: str, count: int) -> onnx.ModelProto:
        """The model that ends in the bits, in the scores of the classes, or in the class."""
        spec = self.spec
        if spec.end == "bits":
            return self.model((bits, (1, count), spec.number), opset=spec.opset)
        scores = self.counted(bits, count)
        if spec.temperature != 1:
            if spec.number != TensorProto.FLOAT:
                scores = self.node("Cast", scores, to=TensorProto.FLOAT)
            scores = self.node("Div", scores, spec.temperature)
        kind = TensorProto.FLOAT if spec.temperature != 1 else spec.number
        if spec.end == "arg max":
            index = self.node("ArgMax", scores, axis=self.axis(1, 2), keepdims=0)
            return self.model((index, (1,), TensorProto.INT64), opset=spec.opset)
        return self.model((scores, (1, spec.classes), kind), opset=spec.opset)
