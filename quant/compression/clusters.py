"""Clusters of equal size: rows of a matrix that lie near a common subspace."""

import torch
from scipy.optimize import linear_sum_assignment

STARTS, SWEEPS = 4, 20


def subspace_clusters(rows: torch.Tensor, groups: int, rank: int, banks: int = 1) -> torch.Tensor:
    """Returns the cluster, 0..groups-1, of each row of a matrix (n, d).

    Each cluster has a subspace of dimension ``rank``, and the sum of the squared distances of the rows from the
    subspaces of their clusters is small: in turn, a subspace becomes the leading singular vectors of its rows, and the
    rows are assigned anew. So the rows of a cluster have a good approximation of that rank. Sizes differ by one at
    most; so do those among the rows whose numbers are equal modulo ``banks``. It starts from consecutive rows, and
    from some orders that are drawn with a fixed seed; the best end counts.
    """
    values, generator = rows.double(), torch.Generator().manual_seed(0)
    starts = [torch.arange(len(values)), *(torch.randperm(len(values), generator=generator) for _ in range(STARTS))]
    found = [_improved(values, _balanced(place[:, None].double(), groups, banks), groups, rank, banks)
             for place in starts]  # fmt: skip
    return min(found, key=lambda each: each[0])[1]


def distance(rows: torch.Tensor, clusters: torch.Tensor, rank: int) -> float:
    """Returns the sum of squared distances of rows (n, d) from the best subspaces of their clusters."""
    parts = (rows[clusters == each].double() for each in clusters.unique())
    return float(sum(torch.linalg.svdvals(part)[rank:].square().sum() for part in parts))


def _improved(
    rows: torch.Tensor, clusters: torch.Tensor, groups: int, rank: int, banks: int
) -> tuple[float, torch.Tensor]:
    error = distance(rows, clusters, rank)
    for _ in range(SWEEPS):
        bases = [torch.linalg.svd(rows[clusters == each], full_matrices=False)[2][:rank] for each in range(groups)]
        outside = [(rows.square().sum(1) - (rows @ basis.T).square().sum(1)) for basis in bases]
        after = _assigned(torch.stack(outside, 1), banks)
        better = distance(rows, after, rank)
        if better >= error:
            break
        error, clusters = better, after
    return error, clusters


def _balanced(place: torch.Tensor, groups: int, banks: int) -> torch.Tensor:
    """Clusters of consecutive places."""
    middles = (torch.arange(groups, dtype=place.dtype) + 0.5) * len(place) / groups
    return _assigned((place + 0.5 - middles).square(), banks)


def _assigned(costs: torch.Tensor, banks: int) -> torch.Tensor:
    """The assignment of least cost (n, groups) to clusters of equal size, within each bank too."""
    count, groups = costs.shape
    clusters = torch.empty(count, dtype=torch.long)
    given = 0  # clusters that have got one more than others so far
    for bank in range(banks):
        members = torch.arange(bank, count, banks)
        each, more = divmod(len(members), groups)
        seats = torch.arange(groups).repeat(each)
        seats = torch.cat([seats, (given + torch.arange(more)) % groups])
        given += more
        _, chosen = linear_sum_assignment(costs[members][:, seats].numpy())
        clusters[members] = seats[torch.from_numpy(chosen)]
    return clusters
