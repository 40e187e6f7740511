"""Networks whose layers bring their own quantizers: only the rules of the training."""

from dataclasses import dataclass
from typing import ClassVar, NoReturn

from quant.errors import QuantError
from quant.schemes.scheme import Scheme


@dataclass(frozen=True)
class Own(Scheme):
    """Layers of Brevitas with quantizers of their own, of a network given as ``module.py:function``.

    Adam with learning rates from 1e-3 to 1e-5. Loss: cross entropy.
    """

    name: ClassVar[str] = "own"
    learning_rate: ClassVar[tuple[float, float]] = (1e-3, 1e-5)

    @classmethod
    def from_bits(cls, weight_bits: int | str, act_bits: int) -> NoReturn:
        raise QuantError(
            f"scheme own has no widths as w{weight_bits}a{act_bits}: it is for networks given as module.py:function",
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
            f"scheme own quantizes no {what}: it is for networks given as module.py:function whose layers have "
            "quantizers of their own; for layers of a scheme (quant.layers) name it, as --scheme integer",
            status=2,
        )
