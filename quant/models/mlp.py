"""Fully connected networks: TFC, SFC and LFC, as FINN names them, and MLPs for jet tagging and keyword spotting."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from quant import layers
from quant.errors import QuantError
from quant.models.staged import StagedNetwork
from quant.schemes.scheme import Scheme


class MLP(StagedNetwork):
    """Input quantizer; linear, BatchNorm, activation and dropout for each hidden layer; linear.

    If the scheme's weights are +-1, a constant power-of-two scale follows (``quant.layers.LogitScale``).

    ``hidden`` are the widths of the hidden layers, which each family sets unless they are given. With ``experts`` of 2
    or more, every hidden layer but the first has as many experts, of which one computes a frame
    (``quant.layers.Experts``); it needs BatchNorm.

    Input (N, features), where features is the product of ``input_shape``; output (N, classes) logits. The first layer's
    weights have the scheme's width as well. FINN's TFC-W1A1 has 1-bit pixels: ``in_bits=1``.

    ``batch_norm=False`` omits BatchNorm and gives every linear layer a bias. It is the default of the schemes whose
    scales are powers of two, which then need only shifts. ``bias`` overrides the choice of the bias.
    """

    def __init__(
        self,
        scheme: Scheme,
        *,
        hidden: Sequence[int],
        input_shape: tuple[int, ...] = (64,),
        classes: int = 10,
        in_range: tuple[int, int] = (0, 16),
        in_bits: int | None = None,
        dropout: float = 0.0,
        experts: int = 1,
        batch_norm: bool | None = None,
        bias: bool | None = None,
        name: str = "mlp",
    ) -> None:
        if not hidden or not all(isinstance(width, int) and width >= 1 for width in hidden):
            raise QuantError(f"hidden={hidden!r}: model {name} needs widths of 1 or more, as [64, 32]", status=2)
        features = math.prod(input_shape)
        super().__init__(name, scheme, (features,), classes, in_range, in_bits)
        batch_norm, bias = self.normalization(batch_norm, bias)
        self.hidden = torch.nn.ModuleList()
        if experts != 1 and (bias or len(hidden) < 2):
            raise QuantError(
                f"experts={experts}: model {name} has them in the hidden layers behind the first, with BatchNorm in "
                "place of a bias: give two hidden layers or more, and leave batch_norm and bias out",
                status=2,
            )
        for index, width in enumerate(hidden):
            layer: torch.nn.Module
            if index and experts != 1:
                layer = layers.Experts(scheme, features, width, experts)
            else:
                layer = layers.linear(scheme.edge if index == 0 else scheme, features, width, bias)
            self.hidden.append(layers.block(scheme, layer, width, batch_norm=batch_norm, dropout=dropout))
            features = width
        self.add_output(features, bias)

    def stages(self) -> Iterable[torch.nn.Module]:
        return self.hidden

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.scale(self.output(x))
        return result


def tfc(scheme: Scheme, **options: Any) -> MLP:
    """TFC: three hidden layers of 64. Published for MNIST, 1-bit input (FINN, Umuroglu et al. 2017; Brevitas):
    w1a1 93.17 %, w2a2 96.60 %."""
    return MLP(scheme, **{"hidden": (64, 64, 64), **options})


def sfc(scheme: Scheme, **options: Any) -> MLP:
    """SFC: three hidden layers of 256. Published for MNIST: w1a1 97.81 %."""
    return MLP(scheme, **{"hidden": (256, 256, 256), **options})


def lfc(scheme: Scheme, **options: Any) -> MLP:
    """LFC: three hidden layers of 1024. Published for MNIST: w1a1 98.88 %."""
    return MLP(scheme, **{"hidden": (1024, 1024, 1024), **options})


def lenet_300_100(scheme: Scheme, **options: Any) -> MLP:
    """LeNet-300-100: hidden layers of 300 and 100; by default 28 x 28 images. The usual network of pruning papers.

    LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", 1998.
    """
    return MLP(scheme, **{"hidden": (300, 100), "input_shape": (784,), "in_range": (0, 255), **options})


def jsc_mlp(scheme: Scheme, **options: Any) -> MLP:
    """Jet substructure classifier: hidden layers of 64, 32, 32; by default 16 features in -128..127 and 5 classes.

    Duarte et al., "Fast inference of deep neural networks in FPGAs for particle physics", JINST 2018.
    """
    defaults = {"hidden": (64, 32, 32), "input_shape": (16,), "classes": 5, "in_range": (-128, 127)}
    return MLP(scheme, **{**defaults, **options})


def kws_mlp(scheme: Scheme, **options: Any) -> MLP:
    """Keyword spotting: three hidden layers of 256; by default 490 features in -128..127 and 12 classes.

    The shapes of FINN's entry to MLPerf Tiny (Banbury et al. 2021).
    """
    defaults = {"hidden": (256, 256, 256), "input_shape": (490,), "classes": 12, "in_range": (-128, 127)}
    return MLP(scheme, **{**defaults, **options})


def ad_mlp(scheme: Scheme, **options: Any) -> MLP:
    """Anomaly detection: an autoencoder of hidden layers 4 x 128, 8, 4 x 128; by default 640 features in -128..127.

    The reference model of MLPerf Tiny (Banbury et al. 2021): five frames of 128 mel bands. For task reconstruction.
    """
    wide = (128,) * 4
    defaults = {"hidden": (*wide, 8, *wide), "input_shape": (640,), "classes": 640, "in_range": (-128, 127)}
    return MLP(scheme, **{**defaults, **options})
