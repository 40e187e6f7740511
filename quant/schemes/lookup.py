"""Lookup networks: every neuron is one table (``quant.lookup``), every value between layers one bit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

import torch

from quant.errors import QuantError
from quant.schemes.scheme import Scheme


@dataclass(frozen=True)
class Lookup(Scheme):
    """Layers of tables instead of weights: the models lookup-s, lookup-m and lookup-l.

    Latent entries of tables are clipped to -1..1 after each update. Wires are learned in the first ``wiring_share`` of
    the training's steps, at every one of them, and then frozen. With ``freeze_constants``, tables that never change
    over the training set become constants at the end of the training; hardware then has no table for them.

    Adam with learning rates from 1e-2 to 1e-5. Loss: cross entropy.
    """

    name: ClassVar[str] = "lookup"
    weight_limit: ClassVar[float | None] = 1.0
    learning_rate: ClassVar[tuple[float, float]] = (1e-2, 1e-5)
    batch_norm: ClassVar[bool] = False

    wiring_share: float = 1 / 3
    freeze_constants: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.wiring_share <= 1:
            raise QuantError(f"scheme lookup: wiring_share={self.wiring_share} is not from 0 to 1", status=2)

    @classmethod
    def from_bits(cls, weight_bits: int | str, act_bits: int) -> NoReturn:
        raise QuantError(
            f"scheme lookup has tables of bits and no widths as w{weight_bits}a{act_bits}: take a model lookup-s, "
            "lookup-m or lookup-l, or another scheme",
            status=2,
        )

    def weight_quant(self) -> NoReturn:
        self._refuse("weights")

    def act_quant(self) -> NoReturn:
        self._refuse("activations")

    def sum_quant(self) -> NoReturn:
        self._refuse("sums")

    def _refuse(self, what: str) -> NoReturn:
        raise QuantError(
            f"scheme lookup has tables and quantizes no {what}: take a model lookup-s, lookup-m or lookup-l, or "
            "another scheme for this one",
            status=2,
        )

    def after_step(self, layers: Sequence[Any], optimizer: torch.optim.Optimizer) -> None:
        with torch.no_grad():
            for layer in layers:
                if layer.gradient == "finite":
                    layer.tables.clamp_(-1.0, 1.0)
                layer.rewire()
