"""Lookup networks: a thermometer encoder, layers of tables, and a popcount for each class."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from quant.errors import QuantError
from quant.lookup.layer import LookupLayer
from quant.lookup.popcount import PopcountHead
from quant.lookup.tables import Gradient
from quant.lookup.thermometer import Levels, Thermometer
from quant.models.network import Network
from quant.schemes.scheme import Scheme

_JITTER = 0.47
"""Of the distance of two levels: for one level in 0..255, 60 shades of grey."""


class LookupNetwork(Network):
    """Thermometer encoder; layers of tables; popcount of the last layer's bits for each class.

    Input (N, *input_shape), whole numbers; output (N, classes) logits, counts over a temperature.

    - ``tables``: of each layer, or of the only one. Those of the last are rounded up to a multiple of ``classes``.
    - ``fan_in``: inputs of a table, 2 to 8, for all layers or for each.
    - ``bits``: levels of each feature. None: 1 for ranges from 0 to more than 16, as of pixels 0..255, else 3.
    - ``levels``: "uniform", "quantile", "gaussian" or "learned" (``quant.lookup.Thermometer``).
    - ``wiring``: "learned", "random" or, behind the first layer, "tree", for all layers or for each. In a tree each
      table reads the next ``fan_in`` outputs of the layer before.
    - ``skip``: whether the layers behind the first read the encoder's bits as well.
    - ``gradient``: "finite" or "multilinear" (``quant.lookup.tables.Gradient``).
    - ``temperature``: of the popcount (``quant.lookup.PopcountHead``).
    - ``jitter``: of the encoder in training (``quant.lookup.Thermometer``).
    """

    def __init__(
        self,
        scheme: Scheme,
        *,
        tables: int | Sequence[int],
        fan_in: int | Sequence[int] = 4,
        bits: int | None = None,
        levels: Levels = "uniform",
        wiring: str | Sequence[str] = "learned",
        skip: bool = False,
        gradient: Gradient = "finite",
        temperature: float | None = None,
        jitter: float = _JITTER,
        input_shape: tuple[int, ...] = (64,),
        classes: int = 10,
        in_range: tuple[int, int] = (0, 16),
        name: str = "lookup",
    ) -> None:
        widths: list[int] = [tables] if isinstance(tables, int) else list(tables)
        if not widths or not all(isinstance(width, int) and width >= 1 for width in widths):
            raise QuantError(
                f"tables={tables!r}: model {name} needs layers of 1 table or more, as [900, 300]", status=2
            )
        widths[-1] = -(-widths[-1] // classes) * classes
        low, high = in_range
        if bits is None:
            bits = 1 if low == 0 and high > 16 else 3
        encoder = Thermometer(math.prod(input_shape), bits, levels, low=low, high=high, jitter=jitter)
        super().__init__(name, scheme, input_shape, classes, in_range, encoder=encoder)
        self.skip = skip
        self.hidden = torch.nn.ModuleList()
        encoded = inputs = encoder.outputs
        for index, (width, k, wires) in enumerate(
            zip(widths, _each("fan_in", fan_in, widths), _each("wiring", wiring, widths), strict=True)
        ):
            if wires == "tree":
                wires = _tree(name, index, inputs, width, k)
            self.hidden.append(LookupLayer(inputs, width, k, wires, gradient, scheme))  # type: ignore[arg-type]
            inputs = width + (encoded if skip else 0)
        self.popcount = PopcountHead(classes, widths[-1], temperature)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        encoded = x = self.input(x)
        for index, layer in enumerate(self.hidden):
            x = layer(torch.cat([x, encoded], 1) if index and self.skip else x)
        return self.popcount(x)


def _each(option: str, given: Any, widths: Sequence[int]) -> list[Any]:
    """Returns an option's value for each layer. Raises QuantError (status 2) for another number of values."""
    values = list(given) if isinstance(given, list | tuple) else [given] * len(widths)
    if len(values) != len(widths):
        raise QuantError(
            f"{option}={given!r} has {len(values)} values for {len(widths)} layers: give one, or one for each", status=2
        )
    return values


def _tree(name: str, index: int, inputs: int, width: int, fan_in: int) -> torch.Tensor:
    if index == 0 or width * fan_in > inputs:
        raise QuantError(
            f"model {name}: layer {index} of {width} tables of {fan_in} inputs is no tree over {inputs} bits: a tree "
            "reads each output of the layer before at most once",
            status=2,
        )
    return torch.arange(width * fan_in).view(width, fan_in)


def lookup_s(scheme: Scheme, **options: Any) -> LookupNetwork:
    """lookup-s: 1,400 tables of 4 inputs with learned wiring, a lookup network for the digits."""
    return LookupNetwork(scheme, **{"tables": (1400,), **options})


def lookup_m(scheme: Scheme, **options: Any) -> LookupNetwork:
    """lookup-m: 2,100 tables of 4 inputs with learned wiring, a lookup network for MNIST."""
    return LookupNetwork(scheme, **{"tables": (2100,), **options})


def lookup_l(scheme: Scheme, **options: Any) -> LookupNetwork:
    """lookup-l: 4,100 tables of 4 inputs with learned wiring, a lookup network for MNIST and Fashion-MNIST."""
    return LookupNetwork(scheme, **{"tables": (4100,), **options})
