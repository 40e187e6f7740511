"""Layers of few parameters between fast transforms: Adaptive Fastfood and ACDC. They are trained, but not exported.

Both take and return tensors (N, features) of floating-point numbers, and have no counterpart among the integer
operators of the hardware (``Transform.why_not_exported``). ``quant.compression.tie`` and ``quant.Tying`` have
structures with as few parameters that have one.
"""

import math

import torch
from torch.nn import functional

from quant.errors import QuantError

__all__ = ["ACDC", "AdaptiveFastfood", "Transform", "walsh_hadamard"]


def walsh_hadamard(x: torch.Tensor) -> torch.Tensor:
    """Returns ``x H`` for x (N, d) and the Walsh-Hadamard matrix H of +-1 (d, d), in ``d log2 d`` additions; d is a
    power of two. H is symmetric, and ``H H = d I``."""
    count, size = x.shape
    half = 1
    while half < size:
        a, b = x.view(count, -1, 2, half).unbind(2)
        x = torch.stack((a + b, a - b), 2).view(count, size)
        half *= 2
    return x


class Transform(torch.nn.Module):
    """Base class of the layers of this module, (N, inputs) -> (N, outputs)."""

    why_not_exported: str

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        if inputs < 1 or outputs < 1:
            raise QuantError(f"inputs={inputs} and outputs={outputs} of a layer must be at least 1", status=2)
        self.inputs, self.outputs = inputs, outputs

    @torch.no_grad()
    def matrix(self) -> torch.Tensor:
        """Returns the dense matrix (outputs, inputs) that the layer multiplies by."""
        parameter = next(self.parameters())
        made: torch.Tensor = self(torch.eye(self.inputs, dtype=parameter.dtype, device=parameter.device)).T
        return made


class AdaptiveFastfood(Transform):
    """``y = S H G P H B x / d``: trained diagonals S, G, B, a fixed permutation P, the Walsh-Hadamard matrix H.

    d is the power of two at or above ``inputs``, to which x is filled up with zeros. ``ceil(outputs / d)`` such blocks
    are stacked and cut to ``outputs``, with 3 d parameters each. At the beginning B is +-1, G is normal with deviation
    1 and S is 1, which gives an output the variance of the inputs. The permutation is drawn from torch's random numbers
    and is part of the state.

    Yang, Moczulski, Denil, de Freitas, Smola, Song, Wang, "Deep fried convnets", ICCV 2015.
    """

    why_not_exported = (
        "Adaptive Fastfood multiplies by floating-point diagonals between two transforms whose sums grow by log2 d "
        "bits each; in integers that needs quantizers and butterflies of d log2 d adders, more than a folded layer of "
        "few bits below 512 inputs: train tied weights (--tie circulant:8) instead"
    )
    permutation: torch.Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.size = 1 << max(0, math.ceil(math.log2(inputs)))
        blocks = -(-outputs // self.size)
        self.s = torch.nn.Parameter(torch.ones(blocks, self.size))
        self.g = torch.nn.Parameter(torch.randn(blocks, self.size))
        self.b = torch.nn.Parameter(torch.randint(0, 2, (blocks, self.size)) * 2.0 - 1.0)
        self.register_buffer("permutation", torch.stack([torch.randperm(self.size) for _ in range(blocks)]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.pad(x, (0, self.size - self.inputs))
        made = []
        for s, g, b, permutation in zip(self.s, self.g, self.b, self.permutation, strict=True):
            inner = walsh_hadamard(x * b)[:, permutation]
            made.append(walsh_hadamard(inner * g) * s / self.size)
        return torch.cat(made, 1)[:, : self.outputs]


class ACDC(Transform):
    """``y = A_K C D_K C^T P ... P A_1 C D_1 C^T x``: trained diagonals A_k and D_k, the cosine transform C.

    C is the orthonormal DCT-II matrix of size ``d = max(inputs, outputs)``; x is filled up with zeros and y is cut.
    Between two of the ``depth`` K factors is a fixed random permutation P, which is part of the state. There are 2 K d
    parameters, at the beginning normal with mean 1 and deviation 0.1.

    Moczulski, Denil, Appleyard, de Freitas, "ACDC: a structured efficient linear layer", ICLR 2016.
    """

    why_not_exported = (
        "ACDC multiplies by cosine transforms, dense matrices of irrational numbers, whose products have no exact "
        "integers: train tied weights (--tie circulant:8) instead"
    )
    transform: torch.Tensor
    permutation: torch.Tensor

    def __init__(self, inputs: int, outputs: int, depth: int = 4) -> None:
        super().__init__(inputs, outputs)
        if depth < 1:
            raise QuantError(f"depth={depth} of ACDC must be at least 1", status=2)
        self.size = max(inputs, outputs)
        self.a = torch.nn.Parameter(1 + 0.1 * torch.randn(depth, self.size))
        self.d = torch.nn.Parameter(1 + 0.1 * torch.randn(depth, self.size))
        self.register_buffer("permutation", torch.stack([torch.randperm(self.size) for _ in range(depth)]))
        self.register_buffer("transform", cosine_transform(self.size), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.pad(x, (0, self.size - self.inputs))
        for k, (a, d) in enumerate(zip(self.a, self.d, strict=True)):
            x = x if k == 0 else x[:, self.permutation[k]]
            x = (x @ self.transform.T * d) @ self.transform * a
        return x[:, : self.outputs]


def cosine_transform(size: int) -> torch.Tensor:
    """Returns the orthonormal matrix of the DCT-II (size, size): row k is the cosine of frequency k."""
    k, n = torch.arange(size, dtype=torch.float64).view(-1, 1), torch.arange(size, dtype=torch.float64)
    matrix = torch.cos(math.pi / size * (n + 0.5) * k) * math.sqrt(2 / size)
    matrix[0] /= math.sqrt(2)
    return matrix.float()
