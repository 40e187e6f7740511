"""The result of a quantization after training: the network, and what its quantization costs."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from quant.post_training.frames import Frames
from quant.post_training.network import QuantizedNetwork
from quant.post_training.sensitivity import LayerSensitivity, Parts, hits, noise, outputs
from quant.text_table import html_table, text_table


@dataclass(frozen=True, eq=False)
class Quantization:
    """A quantized network and what its quantization costs: ``print(quantize(...))`` is a table.

    Accuracies are fractions of 1 and None without labels. ``agreement`` is the share of frames whose largest output is
    that of the float network. ``noise`` is the mean square of the change of the outputs over that of the outputs.
    ``layers`` has what each part costs alone (empty without ``sensitivity``). ``frames`` is their number.
    """

    model: QuantizedNetwork
    float_accuracy: float | None
    accuracy: float | None
    agreement: float
    noise: float
    frames: int
    layers: tuple[LayerSensitivity, ...]

    def as_dict(self) -> dict[str, Any]:
        """Returns all but the network, for a file."""
        scheme = self.model.scheme.describe()
        names = ("float_accuracy", "accuracy", "agreement", "noise", "frames")
        return {"scheme": scheme, **{name: getattr(self, name) for name in names},
                "layers": [asdict(row) for row in self.layers]}  # fmt: skip

    def _cells(self) -> list[list[str]]:
        rows = [
            [row.name, row.kind, str(row.bits), _percent(row.accuracy), f"{100 * row.noise:.2g} %"]
            for row in sorted(self.layers, key=lambda row: -row.noise)
        ]
        return [*rows, ["all", "", "", _percent(self.accuracy), f"{100 * self.noise:.2g} %"]]

    def _conclusion(self) -> str:
        shown = (
            ""
            if self.float_accuracy is None
            else f"float {_percent(self.float_accuracy)}, quantized {_percent(self.accuracy)}; "
        )
        return f"{shown}{self.agreement:.2%} of {self.frames:,} frames have the float network's largest output"

    def __str__(self) -> str:
        return text_table(_COLUMNS, self._cells(), self._conclusion())

    def _repr_html_(self) -> str:
        return html_table(_COLUMNS, self._cells(), self._conclusion())


_COLUMNS = ("quantized alone", "what", "bits", "accuracy", "noise")


def _percent(fraction: float | None) -> str:
    return "" if fraction is None else f"{100 * fraction:.2f} %"


@torch.no_grad()
def measure(
    model: QuantizedNetwork,
    original: Callable[[torch.Tensor], torch.Tensor],
    frames: Frames,
    parts: Parts | None,
) -> Quantization:
    """Returns what the quantization of ``model`` costs on ``frames``, compared with the ``original`` network.

    With ``parts``, also what each part costs alone.
    """
    expected, found = outputs(original, frames.x), outputs(model, frames.x)
    labels = frames.y if expected.dim() == 2 else None
    rows = []
    for name, kind in parts.kinds.items() if parts is not None else ():
        with parts.only(name):  # type: ignore[union-attr]
            alone = outputs(model, frames.x)
        bits = int(parts.proxies[name].bit_width())  # type: ignore[union-attr]
        rows.append(LayerSensitivity(name, kind, bits, hits(alone, labels), noise(alone, expected)))
    return Quantization(
        model=model,
        float_accuracy=hits(expected, labels),
        accuracy=hits(found, labels),
        agreement=float((found.argmax(1) == expected.argmax(1)).double().mean()),
        noise=noise(found, expected),
        frames=len(frames),
        layers=tuple(rows),
    )
