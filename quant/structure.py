"""Structures of sparse weights: which weights of a layer become zero together.

A layer's weights (outputs, inputs, *kernel) are seen as the matrix that hardware multiplies by, MH outputs by MW
inputs. The inputs of a convolution are in the order of a window, (*kernel positions, channel), the channel first to
change.

Light to import: settings of a training name structures without torch.
"""

import re
from dataclasses import dataclass
from typing import Literal, get_args

from quant.errors import QuantError

__all__ = ["Structure", "StructureKind", "structure"]

StructureKind = Literal["unstructured", "n:m", "bank-balanced", "blocks", "columns", "outputs"]
"""See ``Structure``."""


@dataclass(frozen=True)
class Structure:
    """Which weights become zero together; ``str`` writes it as ``structure`` reads it.

    - "unstructured": single weights.
    - "n:m": ``n`` of every ``m`` consecutive inputs of an output remain, as "2:4".
    - "bank-balanced", ``pe`` x ``simd``: groups of ``pe`` consecutive outputs use the same inputs. Input i is in bank
      i mod ``simd``, and the same number of inputs remains in every bank of every group.
    - "blocks", ``pe`` x ``simd``: blocks of ``pe`` consecutive outputs by ``simd`` consecutive inputs.
    - "columns": inputs of the matrix, for all outputs.
    - "outputs": all weights of an output.

    Where ``pe`` or ``simd`` does not divide the layer's outputs or inputs, its greatest common divisor with them is
    used (see ``tile``).
    """

    kind: StructureKind = "unstructured"
    pe: int = 1
    simd: int = 1
    n: int = 1
    m: int = 1

    def __str__(self) -> str:
        if self.kind == "n:m":
            return f"{self.n}:{self.m}"
        return f"{self.kind}:{self.pe}x{self.simd}" if self.kind in _TILED else self.kind

    @property
    def fraction(self) -> float | None:
        """The fraction of zeros that "n:m" states; None for all others."""
        return 1 - self.n / self.m if self.kind == "n:m" else None

    def check_fraction(self, given: float | None, where: str = "") -> None:
        """Raises QuantError (status 2) for a fraction of zeros other than the one that "n:m" states; a rounded one is
        that (0.667 of 1:3). ``where`` says of what it is, as " of layer x"."""
        stated = self.fraction
        if None not in (given, stated) and abs(given - stated) > _ROUNDED:  # type: ignore[operator]
            raise QuantError(
                f"fraction={given:g}{where} is not that of structure {self}, which leaves {self.n} of {self.m}: give "
                f"{stated:.4g} (density {1 - stated:.4g}), or another structure",  # type: ignore[operator]
                status=2,
            )


_TILED = ("bank-balanced", "blocks")
_DEFAULT_TILE = (4, 4)
_ROUNDED = 0.5e-3
"""By how much a fraction may differ from that of an N:M structure, which has at least a 64th more or less."""


def structure(text: "str | Structure") -> Structure:
    """Reads a structure: "unstructured", "2:4", "bank-balanced:4x8" (PE x SIMD), "blocks:4x8", "columns", "outputs".

    Without PE x SIMD, "bank-balanced" and "blocks" have 4x4. Raises QuantError (status 2) for any other text.
    """
    if isinstance(text, Structure):
        return text
    ratio = re.fullmatch(r"(\d+):(\d+)", text)
    if ratio:
        n, m = int(ratio[1]), int(ratio[2])
        if not 1 <= n < m <= 64:
            raise QuantError(f"structure {text!r}: N of M weights remain, with 1 <= N < M <= 64, as 2:4", status=2)
        return Structure("n:m", n=n, m=m)
    kind, _, tile = text.partition(":")
    size = re.fullmatch(r"(\d+)x(\d+)", tile)
    if kind in _TILED and (size or kind == text):
        pe, simd = (int(size[1]), int(size[2])) if size else _DEFAULT_TILE
        if pe >= 1 and simd >= 1:
            return Structure(kind, pe, simd)  # type: ignore[arg-type]
    elif kind in get_args(StructureKind) and kind not in (*_TILED, "n:m") and kind == text:
        return Structure(kind)  # type: ignore[arg-type]
    raise QuantError(
        f"no structure {text!r}: unstructured, N:M (2:4), bank-balanced:PExSIMD, blocks:PExSIMD or columns", status=2
    )
