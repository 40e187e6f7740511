"""Brevitas layers with the quantizers of a scheme.

Shapes are those of torch: (N, features), (N, C, L), (N, C, H, W).
"""

from quant.layers.activations import (
    Activation,
    ByChannel,
    CReLU,
    Maxout,
    MultiBias,
    ReluActivation,
    activation,
    signed_activation,
)
from quant.layers.blocks import Add, average_pool, block, conv_block, linear_part
from quant.layers.early_exit import EarlyExits
from quant.layers.ends import Denormalize, InputQuant, LogitScale, Normalize
from quant.layers.experts import Experts
from quant.layers.react import ReactLayer, RPReLU, RSign
from quant.layers.stochastic import S3Pool, StochasticDepth
from quant.layers.weighted import Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d, Linear, conv, depthwise, linear

__all__ = [
    "Activation",
    "Add",
    "ByChannel",
    "CReLU",
    "Conv1d",
    "Conv2d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "Denormalize",
    "EarlyExits",
    "Experts",
    "InputQuant",
    "Linear",
    "LogitScale",
    "Maxout",
    "MultiBias",
    "Normalize",
    "RPReLU",
    "RSign",
    "ReactLayer",
    "ReluActivation",
    "S3Pool",
    "StochasticDepth",
    "activation",
    "average_pool",
    "block",
    "conv",
    "conv_block",
    "depthwise",
    "linear",
    "linear_part",
    "signed_activation",
]
