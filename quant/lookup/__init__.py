"""Layers of lookup networks: every neuron is one table of a few bits.

A network is a thermometer encoder, one or more layers of tables, and a popcount for each class:

    net = torch.nn.Sequential(
        Thermometer(64, 3, low=0, high=16), LookupLayer(192, 1000, fan_in=4), PopcountHead(10, 1000)
    )

Values between the layers are bits, 0.0 and 1.0 in float32. Layers take and return tensors (N, features). In memory
these are feature-major: each feature's values for the batch are contiguous, so that a table's inputs are rows.

``quant.fit`` chooses the encoder's levels, learns the wiring and freezes it. Exported files are plain ONNX.

Sources: Bacellar et al., "Differentiable Weightless Neural Networks", ICML 2024; Petersen et al., "Deep Differentiable
Logic Gate Networks", NeurIPS 2022, and "Convolutional Differentiable Logic Gate Networks", NeurIPS 2024.
"""

from quant.lookup.convolution import LookupConv2d
from quant.lookup.layer import LookupLayer
from quant.lookup.popcount import PopcountHead
from quant.lookup.thermometer import Thermometer

__all__ = ["LookupConv2d", "LookupLayer", "PopcountHead", "Thermometer"]
