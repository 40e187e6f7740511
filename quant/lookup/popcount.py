"""The popcount of each class."""

import torch

from quant.errors import QuantError


class PopcountHead(torch.nn.Module):
    """Counts the ones of each class: (N, inputs) bits -> (N, classes) ``count / temperature``.

    Bits of class c are ``c * inputs / classes`` to ``(c + 1) * inputs / classes - 1``. The temperature makes counts
    logits of a usual size, which only the training needs: it does not change the arg-max. The default is
    ``0.35 * sqrt(bits of a class)``; smaller ones make a training more confident.

    Raises QuantError (status 2) if the bits cannot be shared equally, or the temperature is not positive.
    """

    def __init__(self, classes: int, inputs: int, temperature: float | None = None) -> None:
        super().__init__()
        if classes < 1 or inputs < classes or inputs % classes:
            raise QuantError(
                f"{inputs} bits cannot be shared by {classes} classes: take a multiple of {classes}", status=2
            )
        self.classes, self.inputs = classes, inputs
        self.temperature = 0.35 * (inputs / classes) ** 0.5 if temperature is None else float(temperature)
        if not 0 < self.temperature < float("inf"):
            raise QuantError(f"a popcount's temperature of {temperature} is not above 0", status=2)

    def extra_repr(self) -> str:
        return f"{self.classes}, {self.inputs}, temperature={self.temperature:g}"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if torch.onnx.is_in_onnx_export():
            counts = x.reshape(-1, self.classes, self.inputs // self.classes).sum(2)
        else:
            if x.shape[1:] != (self.inputs,):
                raise QuantError(f"PopcountHead: its input is {tuple(x.shape)}, not (N, {self.inputs})", status=2)
            counts = x.t().reshape(self.classes, -1, len(x)).sum(1).t()
        return counts / self.temperature
