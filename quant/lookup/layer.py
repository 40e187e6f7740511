"""A layer of tables over all inputs."""

from typing import Any

import torch

from quant.lookup.tables import Gradient, TableLayer
from quant.lookup.wiring import Wiring
from quant.schemes.lookup import Lookup


class LookupLayer(TableLayer):
    """Tables over bits: (N, inputs) -> (N, outputs), values 0.0 and 1.0.

    ``y[n, o] = tables[o, sum_j x[n, wires[j, o]] * 2**j] > 0``.

    ``wiring`` is "learned" (a training learns it over all inputs and then freezes it), "random", or the wires
    themselves, whole numbers (outputs, fan_in). ``gradient`` is "finite" or "multilinear", see
    ``quant.lookup.tables.Gradient``. ``scheme`` has the settings of the training.

    >>> LookupLayer(192, 1000, fan_in=6)
    LookupLayer(192, 1000, fan_in=6, wiring=learned)

    Raises QuantError (status 2) for a fan-in outside 2 to 8, sizes below 1, an unknown wiring or gradient, and wires to
    no input.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        fan_in: int = 4,
        wiring: Wiring | Any = "learned",
        gradient: Gradient = "finite",
        scheme: Lookup | None = None,
    ) -> None:
        super().__init__(inputs, outputs, fan_in, wiring, gradient, scheme)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if torch.onnx.is_in_onnx_export():
            return self.read(x[:, self.wires.t().contiguous()])
        return self.lookup(self.rows(x)).t()

    def rows(self, x: torch.Tensor) -> torch.Tensor:
        return x.t().contiguous()
