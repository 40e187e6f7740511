"""The settings of a training that learns the widths of layers and activations. Light to import."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from quant.errors import QuantError

__all__ = ["CostPart", "WidthSearch"]

CostPart = Literal["share", "lut", "ff", "bram", "dsp", "cycles", "rom_bits"]
"""A part of the hardware's cost (``quant.LayerCost``)."""


@dataclass(frozen=True)
class WidthSearch:
    """Widths of weights and activations that are learned, together with the weights, in the first part of a training.

    Every layer's weights are the sum of its weights at each of the candidate widths, in shares that a Gumbel softmax of
    a few trained numbers draws anew in every step; so are the values of every hidden activation. The loss is ``loss +
    strength * E / E_max``: E is the expected hardware cost of all layers under the softmax without noise, and E_max the
    cost at the largest candidates. Then every layer and activation has its most probable width, and the network is
    trained with these for the rest of the epochs.

    - ``weights``: candidates for each layer: 1 to 16 bits, or "ternary". Empty: the widths of the network.
    - ``activations``: candidates for each hidden activation, 2 to 16 bits. Empty: the widths of the network.
    - ``by``: the part of the cost (``quant.LayerCost``) at the target and rate of a cost model. "share" counts lookup
      tables, flip-flops, block RAMs and multipliers, each as a share of the device.
    - ``strength``: of the cost, from 0. At 1, the whole cost of the largest network counts as one unit of the loss.
    - ``share``: of the epochs that learn the widths, above 0 and below 1; at least one epoch, and one is left.
    - ``rate``: Adam's learning rate of the numbers behind the shares.

    Wu, Wang, Zhang, Tian, Vajda, Keutzer, "Mixed precision quantization of ConvNets via differentiable neural
    architecture search", 2018 (DNAS: Gumbel softmax); Cai, Zhu, Han, "ProxylessNAS", ICLR 2019 (the expected cost as a
    term of the loss); Cai, Vasconcelos, "Rethinking differentiable search for mixed-precision neural networks", CVPR
    2020 (one latent weight for all candidates).

    Raises QuantError (status 2) for values out of range, and where no list has two candidates.
    """

    weights: tuple[int | str, ...] = (1, 2, 4, 8)
    activations: tuple[int, ...] = ()
    by: CostPart = "share"
    strength: float = 0.1
    share: float = 0.4
    rate: float = 0.02

    def __post_init__(self) -> None:
        for name, least in (("weights", 1), ("activations", 2)):
            chosen = getattr(self, name)
            for width in chosen:
                whole = isinstance(width, int) and not isinstance(width, bool) and least <= width <= 16
                if not whole and not (name == "weights" and width == "ternary"):
                    raise QuantError(
                        f"{width!r} is no width of {name} to learn: they are {least} to 16"
                        + (", or ternary" if name == "weights" else " (1 is a sign, which no other width is near)"),
                        status=2,
                    )
            ordered = sorted(dict.fromkeys(chosen), key=width_order)
            object.__setattr__(self, name, tuple(ordered))
        if max(len(self.weights), len(self.activations)) < 2:
            raise QuantError(
                "there is nothing to learn: give at least two widths of weights or of activations", status=2
            )
        if self.by not in get_args(CostPart):
            raise QuantError(f"no part {self.by!r} of a cost: choose {', '.join(get_args(CostPart))}", status=2)
        if not 0 <= self.strength < math.inf or not 0 < self.rate < math.inf:
            raise QuantError(f"strength={self.strength} is not from 0, or rate={self.rate} not above 0", status=2)
        if not 0 < self.share < 1:
            raise QuantError(f"share={self.share} of the epochs is not above 0 and below 1", status=2)

    def epochs(self, total: int) -> int:
        """The epochs that learn the widths, of ``total``. Raises QuantError (status 2) for fewer than two."""
        if total < 2:
            raise QuantError(
                "one epoch cannot both learn widths and train with them: give epochs of at least 2", status=2
            )
        return min(total - 1, max(1, round(self.share * total)))


def width_order(width: int | str) -> float:
    """What widths are sorted by: ternary weights are between those of 1 and 2 bits."""
    return 1.6 if isinstance(width, str) else float(width)
