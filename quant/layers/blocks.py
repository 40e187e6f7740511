"""Parts of networks: layers with their BatchNorm, pool and activation, residual sums, and averages."""

import torch

from quant.layers.activations import Activation, activation
from quant.layers.weighted import conv
from quant.schemes.scheme import Scheme

__all__ = [
    "Add",
    "average_pool",
    "block",
    "conv_block",
    "linear_part",
]


def block(
    scheme: Scheme,
    layer: torch.nn.Module,
    channels: int,
    dimensions: int = 0,
    *,
    pool: torch.nn.Module | None = None,
    batch_norm: bool | None = None,
    dropout: float = 0.0,
    act: torch.nn.Module | None = None,
) -> torch.nn.Sequential:
    """Returns a layer followed by BatchNorm, activation and dropout, with ``pool`` where the scheme places it.

    ``channels`` and ``dimensions`` (0 to 2 spatial axes) describe the layer's output. ``batch_norm`` None follows the
    scheme. ``act`` replaces the scheme's activation (``CReLU``, ``MultiBias``, ``Maxout``). The children are named
    ``linear`` or ``conv``, ``pool``, ``norm``, ``act`` and ``dropout``; exported files contain these names.
    """
    made = torch.nn.Sequential()
    made.add_module("conv" if dimensions else "linear", layer)
    if pool is not None and scheme.pool_first:
        made.add_module("pool", pool)
    if scheme.batch_norm if batch_norm is None else batch_norm:
        made.add_module("norm", scheme.norm(channels, dimensions))
    made.add_module("act", activation(scheme) if act is None else act)
    if pool is not None and not scheme.pool_first:
        made.add_module("pool", pool)
    if dropout:
        made.add_module("dropout", torch.nn.Dropout(dropout))
    return made


def conv_block(
    scheme: Scheme,
    inputs: int,
    outputs: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: int | None = None,
    groups: int = 1,
    edge: bool = False,
    pool: torch.nn.Module | None = None,
    batch_norm: bool | None = None,
    bias: bool = False,
    act: torch.nn.Module | None = None,
) -> torch.nn.Sequential:
    """Returns the ``block`` of a convolution over images, (N, inputs, H, W) -> (N, outputs, H / stride, W / stride).

    ``padding`` None is half of the kernel. ``edge``: its weights are those of the scheme's first and last layers.
    """
    layer = conv(
        scheme.edge if edge else scheme, inputs, outputs, kernel,
        stride=stride, padding=kernel // 2 if padding is None else padding, groups=groups, bias=bias,
    )  # fmt: skip
    return block(scheme, layer, outputs, 2, pool=pool, batch_norm=batch_norm, act=act)


def linear_part(
    scheme: Scheme, inputs: int, outputs: int, kernel: int, batch_norm: bool | None, bias: bool, *, stride: int = 1
) -> torch.nn.Sequential:
    """Returns a padded convolution and its BatchNorm, without an activation: children ``conv`` and ``norm``.

    ``batch_norm`` None follows the scheme.
    """
    made = torch.nn.Sequential()
    layer = conv(scheme, inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=bias)
    made.add_module("conv", layer)
    if scheme.batch_norm if batch_norm is None else batch_norm:
        made.add_module("norm", scheme.norm(outputs, 2))
    return made


class Add(torch.nn.Module):
    """Residual addition ``q(a) + q(b)``: both operands pass the same quantizer, ``scheme.sum_quant()``.

    Both therefore have the same scale, and hardware adds their integers.
    """

    def __init__(self, scheme: Scheme) -> None:
        super().__init__()
        self.quant = Activation(act_quant=scheme.sum_quant())

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return self.quant(a) + self.quant(b)


def average_pool(
    scheme: Scheme, kernel: int | tuple[int, ...], dimensions: int = 2, quantize: bool = True
) -> torch.nn.Module:
    """Returns a mean over non-overlapping windows and, if ``quantize``, the scheme's activation quantizer.

    Hardware adds the integers of a window; the quantizer's thresholds include the division.
    """
    pool = torch.nn.AvgPool1d(kernel) if dimensions == 1 else torch.nn.AvgPool2d(kernel)  # type: ignore[arg-type]
    if not quantize:
        return pool
    made = torch.nn.Sequential()
    made.add_module("pool", pool)
    made.add_module("act", activation(scheme))
    return made
