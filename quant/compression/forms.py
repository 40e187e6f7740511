"""Forms of a compressed weight (pruned, shared, codewords), and the integer grid that it can be rounded to."""

from typing import Any

import torch

from quant.quantizers.functions import bounds, uniform
from quant.quantizers.tensor_quant import TensorQuant


class CompressedWeight(torch.nn.Module):
    """Base class: ``forward(latent)`` returns the weight, (out, in, *kernel).

    ``spec()`` returns what ``form_from`` needs to make an empty object of the same sizes.
    """

    kind: str

    def quantized(self, values: torch.Tensor) -> torch.Tensor:
        """Returns the final weight; ``values`` is the layer quantizer's output for the weight of ``forward``."""
        return values

    def spec(self) -> dict[str, Any]:
        raise NotImplementedError


class Pruned(CompressedWeight):
    """The latent weight where ``mask`` is set, and 0 elsewhere. The gradient of a masked weight is 0."""

    kind = "pruned"
    mask: torch.Tensor

    def __init__(self, mask: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        return latent * self.mask

    def quantized(self, values: torch.Tensor) -> torch.Tensor:
        return values * self.mask  # some quantizers center the weights, so that zeros become non-zero

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind}

    @classmethod
    def empty(cls, spec: dict[str, Any], shape: torch.Size) -> "Pruned":
        return cls(torch.ones(shape, dtype=torch.bool))


class Shared(CompressedWeight):
    """Weight sharing: each weight is one of K trainable centroids. The latent weight is not used.

    ``index`` has the weight's shape and holds 0..K-1, or K for a pruned weight, which is 0. The gradient of a centroid
    is the sum of the gradients of its weights.
    """

    kind = "shared"
    index: torch.Tensor

    def __init__(self, centroids: torch.nn.Parameter, index: torch.Tensor) -> None:
        super().__init__()
        self.centroids = centroids  # layers that were clustered jointly share this object
        self.register_buffer("index", index.to(torch.int32))

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        table = torch.cat([self.centroids, self.centroids.new_zeros(1)])
        return table.index_select(0, self.index.flatten()).view(self.index.shape)

    @property
    def pruned(self) -> bool:
        return bool((self.index == len(self.centroids)).any())

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind, "clusters": len(self.centroids)}

    @classmethod
    def empty(cls, spec: dict[str, Any], shape: torch.Size) -> "Shared":
        return cls(torch.nn.Parameter(torch.zeros(spec["clusters"])), torch.zeros(shape))


class Codewords(CompressedWeight):
    """Vector quantization: each sub-vector along the input dimension is a sum of ``stages`` trainable codewords.

    The latent weight is not used. ``codebooks`` has shape (stages, parts, K, length). ``index`` has shape (stages,
    parts, rows) and holds 0..K-1. A row is the weight's vector over the input channels for one output channel and
    kernel position; it is the concatenation of its parts. If the parts are longer in total than the number of input
    channels, the surplus elements are not used.
    """

    kind = "codewords"
    index: torch.Tensor

    def __init__(self, codebooks: torch.Tensor, index: torch.Tensor, shape: torch.Size) -> None:
        super().__init__()
        self.codebooks = torch.nn.Parameter(codebooks)
        self.register_buffer("index", index.to(torch.int32))
        self.shape = torch.Size(shape)

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        stages, parts, size, length = self.codebooks.shape
        base = torch.arange(stages * parts, device=self.index.device, dtype=torch.int32).view(stages, parts, 1) * size
        words = self.codebooks.view(-1, length).index_select(0, (self.index + base).flatten())
        rows = words.view(stages, parts, -1, length).sum(0).transpose(0, 1).flatten(1)[:, : self.shape[1]]
        return from_rows(rows, self.shape)

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind, "codebooks": list(self.codebooks.shape), "rows": self.index.shape[2]}

    @classmethod
    def empty(cls, spec: dict[str, Any], shape: torch.Size) -> "Codewords":
        stages, parts, size, length = spec["codebooks"]
        return cls(torch.zeros(stages, parts, size, length), torch.zeros(stages, parts, spec["rows"]), shape)


_KINDS = {form.kind: form for form in (Pruned, Shared, Codewords)}


def to_rows(weight: torch.Tensor) -> torch.Tensor:
    """Reshapes (out, in, *kernel) to (out * kernel positions, in)."""
    return weight.movedim(1, -1).reshape(-1, weight.shape[1])


def from_rows(rows: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Inverts ``to_rows``; ``shape`` is that of the weight, (out, in, *kernel)."""
    return rows.reshape(shape[0], *shape[2:], shape[1]).movedim(-1, 1)


class Grid(TensorQuant):
    """Tensor quantizer to ``scale`` times signed integers of ``bits`` bits.

    ``narrow_range`` excludes the most negative integer. The gradient is 0 where the value is clipped and passes
    unchanged elsewhere. ``scale`` is a number, or nested lists for one scale per channel. It is a constant of the
    network's description (``describe``) and not part of its state.
    """

    scale: torch.Tensor

    def __init__(self, scale: Any, bits: int, narrow_range: bool) -> None:
        super().__init__(bits)
        self.register_buffer("scale", torch.tensor(scale), persistent=False)
        self.width, self.narrow = bits, narrow_range
        self.low, self.high = bounds(bits, signed=True, narrow=narrow_range)

    def values_and_scale(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return uniform(x, self.scale, self.low, self.high), self.scale

    def spec(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"scale": self.scale.tolist(), "bits": self.width, "narrow_range": self.narrow}


class Values(torch.nn.Module):
    """Makes a tensor quantizer a parametrization of a torch layer's weight, which returns the values only."""

    def __init__(self, quantizer: Grid) -> None:
        super().__init__()
        self.quantizer = quantizer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.quantizer(x)[0]


def form_from(spec: dict[str, Any], shape: torch.Size) -> CompressedWeight:
    """Returns an empty compressed weight for a weight of ``shape``; ``spec`` is that of ``CompressedWeight.spec``."""
    return _KINDS[spec["kind"]].empty(spec, shape)
