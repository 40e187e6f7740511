"""A convolution of tables: the same tables at every position of an image."""

import math
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch.nn import functional

from quant.errors import QuantError
from quant.lookup.tables import Gradient, TableLayer
from quant.lookup.wiring import Wiring
from quant.schemes.lookup import Lookup


class LookupConv2d(TableLayer):
    """Tables over windows of bits: (N, channels, H, W) -> (N, outputs, H', W'), values 0.0 and 1.0.

    A window has ``channels * kernel * kernel`` bits, bit ``(c * kernel + row) * kernel + column`` for each channel,
    row and column, and all positions share tables and wires. ``padding`` is zeros on all sides. The other arguments are
    those of ``LookupLayer``; wires are to bits of the window.

    Petersen et al., "Convolutional Differentiable Logic Gate Networks", NeurIPS 2024, whose tables have 2 inputs.

    Raises QuantError (status 2) as ``LookupLayer`` does, for other sizes below 1, and for images smaller than a window.
    """

    def __init__(
        self,
        channels: int,
        outputs: int,
        kernel: int = 3,
        fan_in: int = 4,
        stride: int = 1,
        padding: int = 0,
        wiring: Wiring | Any = "learned",
        gradient: Gradient = "finite",
        scheme: Lookup | None = None,
    ) -> None:
        if min(channels, kernel, stride) < 1 or padding < 0:
            raise QuantError(
                f"LookupConv2d: channels={channels}, kernel={kernel} and stride={stride} must be 1 or more, "
                f"padding={padding} 0 or more",
                status=2,
            )
        super().__init__(channels * kernel * kernel, outputs, fan_in, wiring, gradient, scheme)
        self.channels, self.kernel, self.stride, self.padding = channels, kernel, stride, padding

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = ((side + 2 * self.padding - self.kernel) // self.stride + 1 for side in x.shape[2:])
        if x.dim() != 4 or x.shape[1] != self.channels or min(height, width) < 1:
            raise QuantError(
                f"LookupConv2d takes images (N, {self.channels}, H, W) of {self.kernel} x {self.kernel} at least, not "
                f"{tuple(x.shape)}",
                status=2,
            )
        if torch.onnx.is_in_onnx_export():
            return self._export(x, height, width)
        return self.lookup(self.rows(x)).view(self.outputs, len(x), height, width).transpose(0, 1)

    def rows(self, x: torch.Tensor) -> torch.Tensor:
        windows = functional.unfold(x, self.kernel, padding=self.padding, stride=self.stride)  # (N, window, positions)
        return windows.permute(1, 0, 2).reshape(self.inputs, -1)

    def in_file(self, y: torch.Tensor) -> torch.Tensor:
        return y.flatten(2).transpose(1, 2)

    def _export(self, x: torch.Tensor, height: int, width: int) -> torch.Tensor:
        if self.padding:
            x = functional.pad(x, (self.padding,) * 4)
        # In NumPy, so that the file has the wires of all positions as one constant.
        places = np.arange(math.prod(x.shape[1:])).reshape(*map(int, x.shape[1:]))
        windows = sliding_window_view(places, (self.kernel, self.kernel), (1, 2))[:, :: self.stride, :: self.stride]
        rows = windows.transpose(1, 2, 0, 3, 4).reshape(height * width, self.inputs)
        bits = x.flatten(1)[:, torch.from_numpy(rows[:, self.wires.t().numpy()])]  # (N, P, outputs, fan_in)
        return self.read(bits).reshape(-1, height, width, self.outputs).permute(0, 3, 1, 2)
