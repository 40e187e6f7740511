"""Rounds shared weights and codewords to a fixed-point grid, which needs no special hardware."""

import math

from quant.compression.forms import Codewords, Grid, Shared
from quant.compression.weights import Layers, Model, attach, compressing, compression_of, weight_of
from quant.errors import QuantError


def snap(model: Model, bits: int = 8, *, layers: Layers = None) -> Model:
    """Returns a copy of ``model`` whose shared weights and codewords are integers times a power of two.

    The integers have ``bits`` bits with sign. ``w = 2**-f * round(2**f * c)`` with the largest f for which
    ``max|c| <= (2**(bits-1) - 1) * 2**-f``; f is common to a layer, or to all layers of a joint codebook. Training can
    continue through the rounding. The former scale of a quantized layer is discarded; ``quant.export`` writes plain
    integer weights, and ``encode`` stores integers.

    ``layers``: names or patterns; default: all layers with shared weights or codewords.

    Raises QuantError (status 2) for ``bits`` outside 2 to 16, and for layers with neither.
    """
    if isinstance(bits, bool) or not isinstance(bits, int) or not 2 <= bits <= 16:
        raise QuantError(f"bits={bits!r} is no whole number from 2 to 16", status=2)
    with compressing(model, layers) as (small, chosen):
        forms = {name: compression_of(layer) for name, layer in chosen.items()}
        snapped = {name: form for name, form in forms.items() if isinstance(form, Shared | Codewords)}
        for name in forms:
            if name not in snapped and layers is not None:
                raise QuantError(f"layer {name} has no shared weights or codewords to snap", status=2)
        if not snapped:
            raise QuantError("no layer has shared weights or codewords: compress first (share_weights)", status=2)
        largest: dict[int, float] = {}  # by codebook
        for name, form in snapped.items():
            largest[_codebook(form)] = max(
                largest.get(_codebook(form), 0.0), float(weight_of(chosen[name]).abs().max())
            )
        for name, form in snapped.items():
            high = 2 ** (bits - 1) - 1
            reach = largest[_codebook(form)]
            scale = 2.0 ** math.ceil(math.log2(reach / high)) if reach > 0 else 1.0
            attach(chosen[name], form, Grid(scale, bits, narrow_range=True))
    return small


def _codebook(form: Shared | Codewords) -> int:
    return id(form.values if isinstance(form, Shared) else form.codebooks)
