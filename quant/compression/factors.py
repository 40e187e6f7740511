"""Factorizations of weights: what a layer's weights (out, in, *kernel) are nearly the product of.

``FORMS`` has each form by name: the sequence of smaller layers that replaces a layer, and their weights.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

Factors = list[torch.Tensor]


def matrix(weight: torch.Tensor) -> torch.Tensor:
    """Returns the weights (out, in, *kernel) as the matrix (out, in and kernel positions) of "svd"."""
    return weight.flatten(1)


def separable_matrix(weight: torch.Tensor) -> torch.Tensor:
    """Returns the weights (N, C, d, e) as the matrix (C d, N e) of "separable": M[(c, y), (o, x)] = W[o, c, y, x]."""
    outputs, inputs, high, wide = weight.shape
    return weight.permute(1, 2, 0, 3).reshape(inputs * high, outputs * wide)


def svd(weight: torch.Tensor, rank: int) -> Factors:
    """Returns (rank, in, *kernel) and (out, rank, 1, ...), whose product is nearest to the weights.

    Both have the square roots of the singular values. Denil et al., "Predicting parameters in deep learning", NIPS
    2013; Sainath et al., ICASSP 2013; Denton et al., NIPS 2014.
    """
    u, s, v = torch.linalg.svd(matrix(weight), full_matrices=False)
    root = s[:rank].sqrt()
    first = (root[:, None] * v[:rank]).view(rank, *weight.shape[1:])
    second = (u[:, :rank] * root).view(len(weight), rank, *[1] * (weight.dim() - 2))
    return [first, second]


def separable(weight: torch.Tensor, rank: int) -> Factors:
    """Returns V (rank, C, d, 1) and H (N, rank, 1, e) with W[o, c, y, x] ~ sum_k H[o, k, x] V[k, c, y].

    The truncated SVD of ``separable_matrix`` is the exact optimum. Tai, Xiao, Zhang, Wang, E, "Convolutional neural
    networks with low-rank regularization", ICLR 2016, scheme 2.
    """
    outputs, inputs, high, wide = weight.shape
    u, s, v = torch.linalg.svd(separable_matrix(weight), full_matrices=False)
    root = s[:rank].sqrt()
    vertical = (u[:, :rank] * root).T.reshape(rank, inputs, high, 1)
    horizontal = (root[:, None] * v[:rank]).reshape(rank, outputs, wide).transpose(0, 1).unsqueeze(2)
    return [vertical.contiguous(), horizontal.contiguous()]


def cp(weight: torch.Tensor, rank: int, sweeps: int = 200) -> Factors:
    """Returns (R, C, 1, 1), (R, 1, d, 1), (R, 1, 1, e), (N, R, 1, 1): W[o, c, y, x] ~ sum_r A_or B_cr Y_yr X_xr.

    Alternating least squares: each factor in turn solves its least-squares problem on the Khatri-Rao product of the
    others. It starts from the singular vectors of the unfoldings, ends after ``sweeps`` or when the error no longer
    falls, and gives all factors equal column norms. A best approximation need not exist, so columns may grow
    (Lebedev et al., "Speeding-up convolutional neural networks using fine-tuned CP-decomposition", ICLR 2015).
    """
    goal, generator = weight.double(), torch.Generator().manual_seed(0)
    unfolded = [goal.movedim(axis, 0).flatten(1) for axis in range(4)]
    factors = []
    for rows in unfolded:
        start = torch.linalg.svd(rows, full_matrices=False)[0][:, :rank]
        more = torch.randn(len(rows), rank - start.shape[1], generator=generator, dtype=goal.dtype)
        factors.append(torch.cat([start, more], 1))
    error = float("inf")
    for _ in range(sweeps):
        for axis, rows in enumerate(unfolded):
            others = [factors[other] for other in range(4) if other != axis]
            grams = torch.stack([other.T @ other for other in others]).prod(0)
            ridge = 1e-12 * grams.diagonal().mean() * torch.eye(rank, dtype=goal.dtype)
            factors[axis] = torch.linalg.solve(grams + ridge, (rows @ khatri_rao(others)).T).T
            norms = factors[axis].norm(dim=0).clamp(min=1e-30)
            if axis < 3:  # the last factor has the size
                factors[axis] = factors[axis] / norms
        before, error = error, float((unfolded[3] - factors[3] @ khatri_rao(factors[:3]).T).square().sum())
        if before - error <= 1e-9 * float(goal.square().sum()):
            break
    size = torch.stack([factor.norm(dim=0) for factor in factors]).prod(0) ** 0.25
    a, b, y, x = (factor / factor.norm(dim=0).clamp(min=1e-30) * size for factor in factors)
    shapes = [(b.T, (rank, -1, 1, 1)), (y.T, (rank, 1, -1, 1)), (x.T, (rank, 1, 1, -1)), (a, (-1, rank, 1, 1))]
    return [factor.reshape(shape).to(weight) for factor, shape in shapes]


def grouped(weight: torch.Tensor, rank: int, inputs: torch.Tensor, outputs: torch.Tensor) -> Factors:
    """Returns (G H rank, in, *kernel) and (out, G H rank, 1, ...): the singular value decomposition of each block.

    ``inputs`` (in,) are the clusters 0..G-1 of the inputs and ``outputs`` (out,) those 0..H-1 of the outputs. The block
    of clusters g and h has ``rank`` channels in between, numbered (h, g, rank); all other weights are 0. Denton et al.,
    "Exploiting linear structure within convolutional networks for efficient evaluation", NIPS 2014, section 3.2.
    """
    masks = block_masks(rank, inputs, outputs, weight.dim())
    first = weight.new_zeros(len(masks[0]), *weight.shape[1:])
    second = weight.new_zeros(len(weight), len(first), *[1] * (weight.dim() - 2))
    place = 0
    for h in range(int(outputs.max()) + 1):
        for g in range(int(inputs.max()) + 1):
            rows, columns = (outputs == h).nonzero()[:, 0], (inputs == g).nonzero()[:, 0]
            between = torch.arange(place, place + rank)
            near, far = svd(weight[rows][:, columns], rank)
            first[between[:, None], columns] = near
            second[rows[:, None], between] = far
            place += rank
    return [first, second]


def block_masks(rank: int, inputs: torch.Tensor, outputs: torch.Tensor, axes: int) -> Factors:
    """Returns where the factors of ``grouped`` have weights, in the shapes of these with kernels of 1."""
    blocks = [(h, g) for h in range(int(outputs.max()) + 1) for g in range(int(inputs.max()) + 1) for _ in range(rank)]
    h, g = torch.tensor(blocks).T
    ones = [1] * (axes - 2)
    return [
        (g[:, None] == inputs).view(*g.shape, len(inputs), *ones),
        (outputs[:, None] == h).view(-1, *h.shape, *ones),
    ]


def khatri_rao(factors: Factors) -> torch.Tensor:
    """Returns the column-wise Kronecker product (product of rows, columns); the last factor changes first."""
    result = factors[0]
    for factor in factors[1:]:
        result = (result[:, None] * factor[None]).flatten(0, 1)
    return result


@dataclass(frozen=True)
class Form:
    """A way to factor a layer: ``factor(weight, rank, ...)``, and the matrix whose singular values say what a rank
    keeps."""

    factor: Callable[..., Factors]
    matrix: Callable[[torch.Tensor], torch.Tensor]
    axes: tuple[int, ...]  # dimensions of the weights that it takes


FORMS: dict[str, Form] = {
    "svd": Form(svd, matrix, (2, 3, 4)),
    "grouped": Form(grouped, matrix, (2, 3, 4)),
    "separable": Form(separable, separable_matrix, (4,)),
    "cp": Form(cp, separable_matrix, (4,)),
}
"""The forms by name."""


def parameters(form: str, shape: torch.Size, rank: int, groups: int = 1) -> int:
    """Returns the number of weights of the factors of ``rank``; ``groups``: clusters of "grouped"."""
    outputs, inputs, kernel = shape[0], shape[1], list(shape[2:])
    if form in ("svd", "grouped"):
        return rank * groups * (outputs + shape[1:].numel())
    if form == "separable":
        return rank * (inputs * kernel[0] + outputs * kernel[1])
    return rank * (inputs + sum(kernel) + outputs)


def rank_for_energy(form: str, weight: torch.Tensor, energy: float) -> int:
    """Returns the least rank whose squared singular values are the share ``energy`` of their sum."""
    values = torch.linalg.svdvals(FORMS[form].matrix(weight)).square()
    shares = torch.cumsum(values, 0) / values.sum().clamp(min=torch.finfo(values.dtype).tiny)
    return min(len(values), int((shares < energy - 1e-6).sum()) + 1)


def rank_for_budget(form: str, shape: torch.Size, budget: float, groups: int = 1) -> int:
    """Returns the greatest rank whose factors have at most the share ``budget`` of the layer's weights, at least 1."""
    return max(1, int(budget * shape.numel() / parameters(form, shape, 1, groups)))
