"""Structures of tied weights: which weights of a layer are one value, up to their sign.

A layer's weights (outputs, inputs, *kernel) are seen as the matrix that hardware multiplies by, MH outputs by MW
inputs. The inputs of a convolution are in the order of a window, (*kernel positions, channel), the channel first to
change.

Light to import: settings of a training name structures without torch.
"""

import re
from dataclasses import dataclass
from typing import Literal, get_args

from quant.errors import QuantError

__all__ = ["TieKind", "Ties", "ties"]

TieKind = Literal["circulant", "toeplitz", "hashed", "negated", "translated", "circ", "p4", "p4m"]
"""See ``Ties``."""

_SIZES = {"circulant": (2, 64), "toeplitz": (2, 64), "hashed": (2, 1024), "translated": (2, 15)}


@dataclass(frozen=True)
class Ties:
    """Which weights are tied; ``str`` writes it as ``ties`` reads it.

    - "circulant", ``size`` b: blocks of b outputs by b inputs with ``W[i, j] = r[(j - i) mod b]``; in a convolution
      the b inputs are channels at one position of the kernel. 1 / b of the weights are values. (Block-circulant: Ding
      et al., "CirCNN", MICRO 2017; the circulant projection of Cheng et al., ICCV 2015, is one block.)
    - "toeplitz", ``size`` b: the same blocks with ``W[i, j] = t[j - i + b - 1]``: (2 b - 1) / b^2.
    - "hashed", ``size`` c: a fixed hash of its place gives each weight one of 1 / c as many values, and a sign (Chen et
      al., "Compressing neural networks with the hashing trick", ICML 2015). With ``pe`` x ``simd`` the hash is that of
      a block of PE outputs by SIMD inputs, whose weights are the words of a memory; then there are no signs.
    - "negated": of each two consecutive outputs the second has the weights of the first, times -1, as in CReLU (Shang
      et al., ICML 2016), whose two halves have thresholds of their own here.
    - "circ": each four consecutive filters are one filter, rotated by 0, 90, 180 and 270 degrees.
    - "p4", "p4m": the filters of a group convolution over four rotations, or eight rotations and reflections (Cohen,
      Welling, "Group equivariant convolutional networks", ICML 2016). Channel ``4 g + r`` of a layer is its map g at
      rotation r. The first layer of the network, and one whose inputs are no such maps, has rotated filters over plain
      inputs.
    - "translated", ``size`` Z: consecutive filters of z x z are all patches of one filter of Z x Z (Zhai et al.,
      "Doubly convolutional neural networks", NIPS 2016).

    "circ", "p4", "p4m" and "translated" are for convolutions over images.
    """

    kind: TieKind = "circulant"
    size: int = 1
    pe: int = 1
    simd: int = 1

    def __str__(self) -> str:
        size = f":{self.size}" if self.kind in _SIZES else ""
        return f"{self.kind}{size}:{self.pe}x{self.simd}" if (self.pe, self.simd) != (1, 1) else f"{self.kind}{size}"

    @property
    def signed(self) -> bool:
        """Whether tied weights can have opposite signs."""
        return self.kind == "negated" or (self.kind == "hashed" and self.pe * self.simd == 1)


def ties(text: "str | Ties") -> Ties:
    """Reads a structure: "circulant:8", "toeplitz:8", "hashed:8", "hashed:8:4x4", "translated:4", "negated", "circ",
    "p4", "p4m".

    Raises QuantError (status 2) for any other text.
    """
    if isinstance(text, Ties):
        return text
    found = re.fullmatch(r"([a-z0-9]+?)(?::(\d+))?(?::(\d+)x(\d+))?", text)
    if found and found[1] in get_args(TieKind):
        kind, size, tile = found[1], int(found[2] or 0), (int(found[3] or 1), int(found[4] or 1))
        low, high = _SIZES.get(kind, (0, 0))
        sized = bool(found[2]) == (kind in _SIZES) and low <= size <= high
        if sized and min(tile) >= 1 and (kind == "hashed" or not found[3]):
            return Ties(kind, size or 1, *tile)  # type: ignore[arg-type]
    raise QuantError(
        f"no structure of ties {text!r}: circulant:B, toeplitz:B (B from 2 to 64), hashed:C, hashed:C:PExSIMD (C from "
        "2 to 1024), translated:Z (Z from 2 to 15), negated, circ, p4 or p4m",
        status=2,
    )
