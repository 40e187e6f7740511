"""Regularizers that drive weights to zero during a training: group lasso, and biased weight decay."""

import torch

from quant.compression.structures import tile
from quant.errors import QuantError
from quant.structure import Structure


def hyperbolic(weight: torch.Tensor, curve: float) -> torch.Tensor:
    """Returns Hanson and Pratt's hyperbolic bias, element by element: ``|w| / (1 + c |w|)`` with ``curve`` c.

    Its gradient is ``sgn(w) / (1 + c |w|)^2``: the decay of small weights is fast, that of large ones slow.
    """
    size = weight.abs()
    return size / (1.0 + curve * size)


def exponential(weight: torch.Tensor, curve: float) -> torch.Tensor:
    """Returns Hanson and Pratt's exponential bias, element by element: ``(1 - exp(-c |w|)) / c`` with ``curve`` c.

    Its gradient is ``sgn(w) exp(-c |w|)``.
    """
    return (1.0 - torch.exp(-curve * weight.abs())) / curve


BIASES = {"hyperbolic": hyperbolic, "exponential": exponential}
"""The biases of weight decay. Hanson, Pratt, "Comparing biases for minimal network construction with
back-propagation", NIPS 1988."""


def shrink(matrix: torch.Tensor, structure: Structure, amount: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the matrix (MH, MW) after the proximal step of a group lasso, and where it is not zero by that.

    For each group, ``v <- v * max(0, 1 - amount / ||v||)`` with the Euclidean norm; ``amount`` is the learning rate
    times the strength of the penalty ``||v||``. The groups are what ``structure`` prunes together: weights, columns,
    blocks of PE x SIMD, or, for "bank-balanced", the PE weights of an input in a group of outputs. The last group of an
    output is left as it was, so that the output keeps an input.

    Zhou, Alvarez, Porikli, "Less is more: towards compact CNNs", ECCV 2016; Wen, Wu, Wang, Chen, Li, "Learning
    structured sparsity in deep neural networks", NIPS 2016.
    """
    mh, mw = matrix.shape
    pe, simd = {"unstructured": (1, 1), "columns": (mh, 1)}.get(structure.kind, tile(structure, matrix.shape))
    if structure.kind == "bank-balanced":
        simd = 1
    elif structure.kind not in ("unstructured", "columns", "blocks"):
        raise QuantError(f"structure {structure} has no groups for a group lasso: take another structure", status=2)
    tiled = matrix.view(mh // pe, pe, mw // simd, simd)
    norms = tiled.square().sum((1, 3), keepdim=True).sqrt()
    factors = (1.0 - amount / norms.clamp(min=torch.finfo(matrix.dtype).tiny)).clamp_(min=0)
    last = (factors > 0).any(2, keepdim=True).logical_not() & (norms == norms.amax(2, keepdim=True))
    factors = torch.where(last, 1.0, factors)
    return (tiled * factors).view(mh, mw), (factors > 0).expand_as(tiled).reshape(mh, mw)
