"""Units of pruning: the sets of weights that a structure (``quant.structure``) removes together, and their scores."""

import math
from dataclasses import dataclass

import torch

from quant.structure import Structure


def to_matrix(weight: torch.Tensor) -> torch.Tensor:
    """Reshapes weights (out, in, *kernel) to the matrix that hardware multiplies by, (out, *kernel positions * in)."""
    return weight.movedim(1, -1).reshape(weight.shape[0], -1)


def from_matrix(matrix: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Inverts ``to_matrix``; ``shape`` is that of the weights, (out, in, *kernel)."""
    return matrix.reshape(shape[0], *shape[2:], shape[1]).movedim(-1, 1)


def tile(structure: Structure, shape: torch.Size) -> tuple[int, int]:
    """PE and SIMD of a matrix (MH, MW): the structure's where they divide MH and MW, else the greatest common divisors
    with them."""
    return math.gcd(structure.pe, shape[0]), math.gcd(structure.simd, shape[1])


@dataclass(frozen=True)
class Units:
    """The units of one layer's matrix (MH, MW).

    - ``scores`` (U,): root mean square of a unit's weight scores; -1 for a unit that is pruned already.
    - ``sizes`` (U,): weights in a unit; 1 for the levels of "n:m", whose fractions are those of the levels.
    - ``members`` (MH, MW): the number of each weight's unit.
    - ``needed`` (U,): units that must remain, so that every output keeps an input.
    """

    scores: torch.Tensor
    sizes: torch.Tensor
    members: torch.Tensor
    needed: torch.Tensor


def units(structure: Structure, scores: torch.Tensor, kept: torch.Tensor) -> Units:
    """Returns the units of a matrix with ``scores`` >= 0 (MH, MW); ``kept`` is False where a weight is pruned already.

    A unit of "bank-balanced" is a level: the inputs of rank k in each bank of each group of outputs. A unit of "n:m"
    is a level too: the weights of rank k among each ``m`` inputs. So units of one layer are pruned in order, and every
    bank and every group of ``m`` keeps the same number. The order of rank is that of the scores, whose root mean square
    is taken over the weights of a bank's input.
    """
    mh, mw = scores.shape
    scores = torch.where(kept, scores, scores.new_tensor(-1.0))
    if structure.kind == "unstructured":
        members = torch.arange(mh * mw, device=scores.device).view(mh, mw)
        needed = torch.zeros_like(kept).scatter_(1, scores.argmax(1, keepdim=True), True)
        return _finished(scores.flatten(), members, needed.flatten())
    if structure.kind == "columns":
        sums = _root_mean_square(scores, (0,))
        needed = torch.zeros_like(sums, dtype=torch.bool)
        needed[sums.argmax()] = True
        return _finished(sums, torch.arange(mw, device=scores.device).expand(mh, mw), needed)
    if structure.kind == "n:m":
        return _ratio(structure, scores)
    pe, simd = tile(structure, scores.shape)
    groups, beats = mh // pe, mw // simd
    tiled = scores.view(groups, pe, beats, simd)
    if structure.kind == "blocks":
        sums = _root_mean_square(tiled, (1, 3))
        numbers = torch.arange(groups * beats, device=scores.device).view(groups, 1, beats, 1)
        needed = torch.zeros_like(sums, dtype=torch.bool).scatter_(1, sums.argmax(1, keepdim=True), True)
        return _finished(sums.flatten(), numbers.expand_as(tiled).reshape(mh, mw), needed.flatten())
    if structure.kind != "bank-balanced":
        raise AssertionError(f"no units of {structure}")
    ordered, order = _root_mean_square(tiled, (1,)).sort(dim=1, descending=True, stable=True)  # (groups, beats, simd)
    ranks = order.argsort(1)
    levels = _root_mean_square(ordered, (0, 2))
    needed = torch.zeros_like(levels, dtype=torch.bool)
    needed[0] = True
    return _finished(levels, ranks.unsqueeze(1).expand_as(tiled).reshape(mh, mw), needed)


def _ratio(structure: Structure, scores: torch.Tensor) -> Units:
    """The levels of "n:m". Where ``m`` does not divide the inputs, the last group is filled up with pruned weights."""
    mh, mw = scores.shape
    filled = torch.nn.functional.pad(scores, (0, -mw % structure.m), value=-2.0)
    ordered, order = filled.view(mh, -1, structure.m).sort(dim=2, descending=True, stable=True)
    ranks = order.argsort(2).view(mh, -1)[:, :mw]
    needed = torch.arange(structure.m, device=scores.device) < structure.n
    levels = _root_mean_square(ordered, (0, 1))
    return Units(levels, torch.ones_like(needed, dtype=torch.long), ranks, needed)


def _finished(scores: torch.Tensor, members: torch.Tensor, needed: torch.Tensor) -> Units:
    sizes = torch.bincount(members.flatten(), minlength=len(scores))
    return Units(scores, sizes, members, needed & (scores >= 0))


def _root_mean_square(scores: torch.Tensor, over: tuple[int, ...]) -> torch.Tensor:
    """The root mean square over axes, of what is not pruned (below 0); -1 where all is."""
    mean = scores.clamp(min=0).square().mean(over).sqrt()
    return torch.where(scores.amax(over) < 0, -1.0, mean)
