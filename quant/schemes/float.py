"""No quantization: floating-point networks as baselines and as teachers."""

from dataclasses import dataclass
from typing import ClassVar, NoReturn

import torch

from quant.errors import QuantError
from quant.quantizers.injector import Injector
from quant.schemes.scheme import Scheme


@dataclass(frozen=True)
class Float(Scheme):
    """Floating-point weights, ReLU activations and sums: nothing is quantized, the input included.

    Loss: cross entropy. Such a network cannot be exported, because hardware computes with integers.
    """

    name: ClassVar[str] = "float"
    quantizes: ClassVar[bool] = False

    @classmethod
    def from_bits(cls, weight_bits: int | str, act_bits: int) -> "Float":
        return cls()

    def weight_quant(self) -> Injector:
        return None

    def act_quant(self) -> Injector:
        return None

    def sum_quant(self) -> Injector:
        return None

    def check_export(self, model: torch.nn.Module) -> NoReturn:
        raise QuantError(
            "scheme float quantizes nothing, and hardware computes with integers: train a quantized network, for "
            "example -w8a8 (with this one as its teacher), and export that",
            status=2,
        )
