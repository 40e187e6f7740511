"""Forms of a compressed weight (pruned, tied, shared, codewords), and the integer grid that it can be rounded to."""

from typing import Any

import numpy as np
import torch

from quant.compression.ties import places
from quant.quantizers.functions import bounds, uniform
from quant.quantizers.tensor_quant import TensorQuant
from quant.ties import Ties
from quant.ties import ties as read_ties


class CompressedWeight(torch.nn.Module):
    """Base class: ``forward(latent)`` returns the weight, (out, in, *kernel).

    ``spec()`` returns what ``form_from`` needs to make an empty object of the same sizes.
    """

    kind: str

    def to_quantize(self, latent: torch.Tensor) -> torch.Tensor:
        """Returns what the layer's quantizer rounds."""
        made: torch.Tensor = self(latent)
        return made

    def quantized(self, values: torch.Tensor) -> torch.Tensor:
        """Returns the final weight; ``values`` is the layer quantizer's output for the weight of ``to_quantize``."""
        return values

    @property
    def trained(self) -> torch.nn.Parameter | None:
        """The parameter to which a scheme's rules for latent weights apply; None: the latent weight."""
        return None

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


class Tied(CompressedWeight):
    """Tied weights: ``sign * values[index]`` with trainable ``values`` (K,). The latent weight is not used.

    ``index`` and ``sign`` have the weight's shape; ``index`` holds 0..K-1, and no ``sign`` means +1. The gradient of a
    value is the sum of the gradients of its weights, times their signs. In a quantized layer the signs follow the
    quantizer, so that weights of one value have one integer, up to the sign, whatever the rounding.

    A structure (``quant.ties``) determines ``index`` and ``sign``.
    """

    kind = "tied"
    index: torch.Tensor
    sign: torch.Tensor | None

    def __init__(self, values: torch.nn.Parameter, index: torch.Tensor, sign: torch.Tensor | None = None) -> None:
        super().__init__()
        self.values = values
        self.register_buffer("index", index.to(torch.int32))
        self.register_buffer("sign", None if sign is None else sign.to(torch.int8))
        self.made_by: dict[str, Any] = {}

    @classmethod
    def structured(cls, ties: Ties, shape: torch.Size, groups: int, first: bool) -> "Tied | None":
        """Returns the form of a structure with values of 0 (see ``places``); None if it ties no weights."""
        found = places(ties, tuple(shape), groups, first)
        if found is None:
            return None
        sign = None if found.sign is None else torch.from_numpy(found.sign)
        made = cls(torch.nn.Parameter(torch.zeros(found.count)), torch.from_numpy(found.index), sign)
        made.made_by = {"structure": str(ties), "groups": groups, "first": first}
        return made

    def to_quantize(self, latent: torch.Tensor) -> torch.Tensor:
        return self.values.index_select(0, self.index.flatten()).view(self.index.shape)

    def quantized(self, values: torch.Tensor) -> torch.Tensor:
        return values if self.sign is None else values * self.sign

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        return self.quantized(self.to_quantize(latent))

    @property
    def trained(self) -> torch.nn.Parameter | None:
        return self.values

    @torch.no_grad()
    def project(self, weight: torch.Tensor) -> None:
        """Makes the values those of the nearest tied weights: the mean of the weights at their places, times signs."""
        signed = weight if self.sign is None else weight * self.sign
        places = self.index.flatten().long()
        sums = torch.zeros_like(self.values, dtype=torch.float64).index_add_(0, places, signed.flatten().double())
        self.values.copy_(sums / torch.bincount(places, minlength=len(sums)))

    @torch.no_grad()
    def sample(self, weight: torch.Tensor) -> None:
        """Makes the values those of the first of their places, so that they have the distribution of the weights."""
        signed = weight if self.sign is None else weight * self.sign
        _, first = np.unique(self.index.cpu().numpy(), return_index=True)
        self.values.copy_(signed.flatten()[torch.from_numpy(first).to(signed.device)])

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind, **self.made_by}

    @classmethod
    def empty(cls, spec: dict[str, Any], shape: torch.Size) -> "Tied":
        made = cls.structured(read_ties(spec["structure"]), shape, spec["groups"], spec["first"])
        assert made is not None
        return made


class Shared(Tied):
    """Weight sharing: tied weights without signs, whose places were chosen for the values of the weights.

    ``index`` holds 0..K-1, or K for a pruned weight, which is 0.
    """

    kind = "shared"

    def __init__(self, values: torch.nn.Parameter, index: torch.Tensor) -> None:
        super().__init__(values, index)  # layers that were clustered jointly share the object ``values``

    def to_quantize(self, latent: torch.Tensor) -> torch.Tensor:
        table = torch.cat([self.values, self.values.new_zeros(1)])
        return table.index_select(0, self.index.flatten()).view(self.index.shape)

    @property
    def trained(self) -> torch.nn.Parameter | None:
        return None  # a fixed grid bounds the values

    @property
    def pruned(self) -> bool:
        return bool((self.index == len(self.values)).any())

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind, "clusters": len(self.values)}

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


_KINDS = {form.kind: form for form in (Pruned, Tied, Shared, Codewords)}


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
