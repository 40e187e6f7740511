"""Fully connected networks with three equal hidden layers: TFC (64), SFC (256) and LFC (1024), as FINN names them."""

import math

import torch

from quant import layers
from quant.models.network import Network
from quant.models.registry import register_model
from quant.schemes.scheme import Scheme


class MLP(Network):
    """Input quantizer; linear, BatchNorm, activation, dropout for each hidden layer; linear.

    Where the scheme's weights are +-1, a constant power-of-two scale follows (``quant.layers.LogitScale``).

    Input (N, features), the product of ``input_shape``; output (N, classes) logits.

    ``in_bits`` is the input's width (see ``quant.layers.InputQuant``): by default 4 bits for ranges up to 0..16 (the
    digits, whose brightest value, 16, becomes 15) and 8 bits otherwise, so that an image goes in as it is. The
    first layer's weights have the scheme's width, too. FINN's TFC-W1A1 takes 1-bit pixels: ``in_bits=1``.

    ``batch_norm=False`` leaves out BatchNorm and gives every linear layer a bias; that is the
    default of the schemes whose scales are powers of two, which then need shifts only. ``bias`` overrides.
    """

    def __init__(
        self,
        scheme: Scheme,
        hidden: tuple[int, ...],
        input_shape: tuple[int, ...] = (64,),
        classes: int = 10,
        in_range: tuple[int, int] = (0, 16),
        in_bits: int | None = None,
        dropout: float = 0.0,
        batch_norm: bool | None = None,
        bias: bool | None = None,
        name: str = "mlp",
    ) -> None:
        features = math.prod(input_shape)
        super().__init__(name, scheme, (features,), classes, in_range)
        if in_bits is None:
            in_bits = 4 if in_range[0] >= 0 and in_range[1] <= 16 else 8
        batch_norm = scheme.batch_norm if batch_norm is None else batch_norm
        bias = not batch_norm if bias is None else bias
        self.input = layers.InputQuant(in_bits, *in_range)
        self.hidden = torch.nn.ModuleList()
        for index, width in enumerate(hidden):
            layer = layers.linear(scheme.edge if index == 0 else scheme, features, width, bias)
            self.hidden.append(layers.block(scheme, layer, width, batch_norm=batch_norm, dropout=dropout))
            features = width
        self.output = layers.linear(scheme.edge, features, classes, bias)
        self.scale = layers.LogitScale(features) if scheme.edge.unit_weights else torch.nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.input(x)
        for block in self.hidden:
            x = block(x)
        return self.scale(self.output(x))


@register_model
def tfc(scheme: Scheme, **options) -> MLP:  # type: ignore[no-untyped-def]
    """TFC: three hidden layers of 64. Published for MNIST, 1-bit input (FINN, Umuroglu et al. 2017; Brevitas):
    w1a1 93.17 %, w2a2 96.60 %."""
    return MLP(scheme, hidden=(64, 64, 64), **options)


@register_model
def sfc(scheme: Scheme, **options) -> MLP:  # type: ignore[no-untyped-def]
    """SFC: three hidden layers of 256. Published for MNIST: w1a1 97.81 %."""
    return MLP(scheme, hidden=(256, 256, 256), **options)


@register_model
def lfc(scheme: Scheme, **options) -> MLP:  # type: ignore[no-untyped-def]
    """LFC: three hidden layers of 1024. Published for MNIST: w1a1 98.88 %."""
    return MLP(scheme, hidden=(1024, 1024, 1024), **options)
