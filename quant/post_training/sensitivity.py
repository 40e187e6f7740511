"""What quantization costs: accuracy and noise of a quantized network, as a whole and layer by layer."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class LayerSensitivity:
    """What the quantization of one part costs, everything else in floating point.

    ``kind`` is "weights" of a layer, or the values of an "activation", of the "input", or of a "sum". ``bits`` is their
    width. ``accuracy`` is a fraction of 1 (None without labels). ``noise`` is the mean square of the change of the
    outputs over that of the outputs.
    """

    name: str
    kind: str
    bits: int
    accuracy: float | None
    noise: float


class Parts:
    """The parts of a network that are quantized: its layers' weights, and its activation quantizers.

    ``kinds`` has the kind of each activation quantizer by its path, ``originals`` the float weight and bias of each
    layer by its path, as they were before weights and biases were optimized.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        kinds: Mapping[str, str],
        originals: Mapping[str, tuple[torch.Tensor, torch.Tensor | None]],
    ) -> None:
        self.model, self.originals = model, originals
        self.layers: dict[str, Any] = {path: model.get_submodule(path) for path in originals}
        self.kinds = dict.fromkeys(originals, "weights") | dict(kinds)
        self.proxies: dict[str, Any] = {path: layer.weight_quant for path, layer in self.layers.items()}
        self.proxies |= {path: model.get_submodule(path).act_quant for path in kinds}

    @contextmanager
    def only(self, chosen: str) -> Iterator[None]:
        """Inside, the network is in floating point, but for one part. The other layers have their original weights."""
        kept = {path: (layer.weight.data, layer.bias) for path, layer in self.layers.items()}
        try:
            for path, layer in self.layers.items():
                if path != chosen:
                    weight, bias = self.originals[path]
                    layer.weight.data = weight
                    layer.bias = None if bias is None else torch.nn.Parameter(bias)
            for path, proxy in self.proxies.items():
                proxy.disable_quant = path != chosen
            yield
        finally:
            for path, layer in self.layers.items():
                layer.weight.data, layer.bias = kept[path]
            for proxy in self.proxies.values():
                proxy.disable_quant = False


@torch.no_grad()
def outputs(model: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, batch_size: int = 256) -> torch.Tensor:
    """Returns the outputs for x (N, ...)."""
    return torch.cat([model(part) for part in x.split(batch_size)])


def noise(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Returns the mean square of the difference over the mean square of ``expected``."""
    power = float(expected.double().square().mean())
    return float((found.double() - expected.double()).square().mean()) / (power or 1.0)


def hits(found: torch.Tensor, labels: torch.Tensor | None) -> float | None:
    """Returns the fraction of rows whose largest value is that of the label; None without labels."""
    return None if labels is None else float((found.argmax(1) == labels).double().mean())
