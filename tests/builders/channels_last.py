"""Random convolutional QONNX networks with channels last, as QONNX's conversion to channels last writes them."""

import numpy as np
from onnx import helper

from tests.builders.qonnx_builder import Builder
from tests.builders.random_images import RandomImages

DOMAIN = "qonnx.custom_op.channels_last"


class ChannelsLastBuilder(Builder):
    """Writes the nodes of a network of images (N, C, *spatial) for images (N, *spatial, C).

    Conv, MaxPool and BatchNormalization are QONNX's operators with channels last; transpositions surround other spatial
    operators.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__((shape[0], *shape[2:], shape[1]))
        self.rank = len(shape)

    def to_last(self, x: str) -> str:
        return super().node("Transpose", x, perm=[0, *range(2, self.rank), 1])

    def to_first(self, x: str) -> str:
        return super().node("Transpose", x, perm=[0, self.rank - 1, *range(1, self.rank - 1)])

    def node(self, op: str, *inputs, outputs: int = 1, **attributes) -> str:
        if op == "Conv":
            inputs = (inputs[0], self.to_last(inputs[1]), *inputs[2:])
        elif op in ("AveragePool", "GlobalAveragePool", "Resize"):
            return self.to_last(super().node(op, self.to_first(inputs[0]), *inputs[1:], **attributes))
        elif op == "Flatten":
            inputs = (self.to_first(inputs[0]),)
        elif op == "Concat":
            attributes["axis"] = self.rank - 1
        elif op == "MultiThreshold":
            attributes["data_layout"] = "NHWC" if self.rank == 4 else "NWC"
        elif op in ("Add", "Mul") and not isinstance(inputs[1], str):
            inputs = (inputs[0], np.moveaxis(inputs[1], 1, -1))
        made = super().node(op, *inputs, outputs=outputs, **attributes)
        if op in ("Conv", "MaxPool", "BatchNormalization"):
            self.nodes[-1].domain = DOMAIN
        return made

    def quant(self, x, scale, bits, *args, **attributes) -> str:
        if isinstance(x, str) and np.ndim(scale) > 2:
            scale = np.moveaxis(scale, 1, -1)
        return super().quant(x, scale, bits, *args, **attributes)

    def model(self, *outputs, opset: int = 13):
        moved = [(name, shape if len(shape) == 2 else (*shape[:1], *shape[2:], shape[1])) for name, shape in outputs]
        made = super().model(*moved, opset=opset)
        made.opset_import.append(helper.make_opsetid(DOMAIN, opset))
        return made


class ChannelsLastImages(RandomImages):
    """The network that ``RandomImages`` draws from the same numbers, with channels last."""

    def __init__(self, rng: np.random.Generator, dyadic: bool) -> None:
        super().__init__(rng, dyadic)
        self.builder: Builder = ChannelsLastBuilder((1, self.channels, *self.spatial))
