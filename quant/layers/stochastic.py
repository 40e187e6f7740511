"""Layers that are random in training, and constants or plain pools otherwise."""

import torch

from quant.errors import QuantError

__all__ = [
    "S3Pool",
    "StochasticDepth",
]


class S3Pool(torch.nn.Module):
    """A max pool that leaves out rows and columns at random in training: (N, C, H, W) -> (N, C, H / k, W / k).

    Training: a max pool of side ``kernel`` at every position, then, of every ``grid`` rows and of every ``grid``
    columns, ``grid / kernel`` drawn at random, the same for all samples of a batch. Otherwise, and in hardware, it is
    the plain max pool. Zhai et al., "S3Pool: pooling with stochastic spatial sampling", CVPR 2017.

    Raises QuantError (status 2) for a grid that is no multiple of the kernel, and for sides that are none of the grid.
    """

    def __init__(self, kernel: int = 2, grid: int = 4) -> None:
        super().__init__()
        if kernel < 1 or grid < kernel or grid % kernel:
            raise QuantError(f"S3Pool: grid={grid} is no multiple of kernel={kernel}", status=2)
        self.kernel, self.grid = kernel, grid

    def extra_repr(self) -> str:
        return f"kernel={self.kernel}, grid={self.grid}"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return torch.nn.functional.max_pool2d(x, self.kernel)
        if x.shape[2] % self.grid or x.shape[3] % self.grid:
            raise QuantError(
                f"S3Pool: {x.shape[2]} x {x.shape[3]} elements are no multiple of grid={self.grid}: take a smaller one",
                status=2,
            )
        rest = self.kernel - 1
        padded = torch.nn.functional.pad(x, (0, rest, 0, rest), mode="replicate")
        x = torch.nn.functional.max_pool2d(padded, self.kernel, stride=1)
        return x[:, :, self._drawn(x.shape[2], x.device)][:, :, :, self._drawn(x.shape[3], x.device)]

    def _drawn(self, size: int, device: torch.device) -> torch.Tensor:
        order = torch.rand(size // self.grid, self.grid, device=device).argsort(1)[:, : self.grid // self.kernel]
        starts = torch.arange(0, size, self.grid, device=device)
        return (order.sort(1).values + starts[:, None]).flatten()


class StochasticDepth(torch.nn.Module):
    """A residual branch that a training step leaves out at random: ``b x`` with b = 1 of probability ``survival``.

    Otherwise, and in hardware, it is ``survival * x``, a constant that the next quantizer contains. Huang et al., "Deep
    networks with stochastic depth", ECCV 2016, equations 2 and 5.

    Raises QuantError (status 2) for a probability that is not above 0 and at most 1.
    """

    def __init__(self, survival: float) -> None:
        super().__init__()
        if not 0 < survival <= 1:
            raise QuantError(f"survival={survival} of a residual branch is not above 0 and at most 1", status=2)
        self.survival = survival

    def extra_repr(self) -> str:
        return f"survival={self.survival:g}"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x * self.survival
        return x * (torch.rand((), device=x.device) < self.survival)
