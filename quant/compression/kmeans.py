"""Scalar, entropy-constrained and vector k-means on NumPy arrays."""

import numpy as np

from quant.errors import QuantError

INITS = ("linear", "density", "random", "exact")
_TABLE = 1 << 15  # elements of a cost table, small enough for the cache
EXACT_LIMIT = 2048  # distinct values; the exact method's tables grow with their square


def check_clusters(clusters: object) -> int:
    """Returns ``clusters``. Raises QuantError (status 2) unless it is a whole number of at least 1."""
    if isinstance(clusters, bool) or not isinstance(clusters, int) or clusters < 1:
        raise QuantError(f"clusters={clusters!r} is no whole number of 1 or more", status=2)
    return clusters


def scalar_kmeans(
    values: np.ndarray,
    clusters: int,
    importance: np.ndarray | None = None,
    init: str = "linear",
    seed: int = 0,
    iterations: int = 300,
) -> tuple[np.ndarray, np.ndarray]:
    """Clusters numbers: minimizes ``sum_i h_i (w_i - c_z(i))**2`` over centroids c and assignments z.

    ``values`` w (N,) and ``importance`` h (N,) > 0, default 1. Lloyd's iteration assigns each value to the nearest
    centroid, then sets each centroid to ``sum h w / sum h`` of its values. ``init`` places the initial centroids evenly
    between the minimum and the maximum ("linear"), at evenly spaced quantiles ("density"), or on values drawn with
    ``seed`` ("random"). "exact" finds the global optimum instead (up to 2048 distinct values).

    Returns the centroids (K,) float64, ascending, without unused ones, and the centroid index of each value (N,) int64.
    The values are sorted and summed cumulatively, so an iteration costs ``clusters * log N``: millions of values take
    seconds.

    Raises QuantError (status 2) for an invalid ``clusters`` or ``init``, and for "exact" with too many distinct values.
    """
    clusters = check_clusters(clusters)
    if init not in INITS:
        raise QuantError(f"init={init!r} is none of {', '.join(INITS)}", status=2)
    points, where = np.unique(np.asarray(values, dtype=np.float64), return_inverse=True)
    weights = np.bincount(where, importance, minlength=len(points)).astype(np.float64)
    if len(points) <= clusters:
        return points, where
    sums = [np.concatenate(([0.0], np.cumsum(weights * points**power))) for power in (0, 1, 2)]
    if init == "exact":
        edges = _exact_edges(sums, clusters)
    else:
        edges = _lloyd_edges(points, sums, _start(points, weights, clusters, init, seed), iterations)
    edges = np.unique(edges)
    centroids = np.diff(sums[1][edges]) / np.diff(sums[0][edges])
    return centroids, np.searchsorted(edges, where, side="right") - 1


def _start(points: np.ndarray, weights: np.ndarray, clusters: int, init: str, seed: int) -> np.ndarray:
    if init == "linear":
        return np.linspace(points[0], points[-1], clusters)
    if init == "density":
        share = (np.cumsum(weights) - weights / 2) / weights.sum()
        return np.interp((np.arange(clusters) + 0.5) / clusters, share, points)
    return np.sort(np.random.default_rng(seed).choice(points, clusters, replace=False))


def _lloyd_edges(points: np.ndarray, sums: list[np.ndarray], centroids: np.ndarray, iterations: int) -> np.ndarray:
    """Returns the index of each cluster's first sorted point, then the number of points: (clusters + 1,)."""
    edges = np.empty(0, dtype=np.int64)
    for _ in range(iterations):
        inner = np.searchsorted(points, (centroids[1:] + centroids[:-1]) / 2)
        previous, edges = edges, np.concatenate(([0], inner, [len(points)]))
        if np.array_equal(edges, previous):
            break
        mass = np.diff(sums[0][edges])
        # an empty cluster keeps its centroid
        centroids = np.where(mass > 0, np.diff(sums[1][edges]) / np.where(mass > 0, mass, 1.0), centroids)
    return edges


def _exact_edges(sums: list[np.ndarray], clusters: int) -> np.ndarray:
    """Returns the edges (see ``_lloyd_edges``) of the global optimum, by dynamic programming.

    The clusters are intervals of the sorted points. Each pass adds one cluster: for each end it tries every begin.
    """
    count = len(sums[0]) - 1
    if count > EXACT_LIMIT:
        raise QuantError(
            f"init='exact' clusters up to {EXACT_LIMIT} distinct values, not {count}: choose init='linear'", status=2
        )
    mass, first, second = (part[None, :] - part[:, None] for part in sums)  # of the interval [row, column)
    with np.errstate(divide="ignore", invalid="ignore"):
        cost = np.where(mass > 0, second - first**2 / mass, np.inf)
    best = cost[0]
    begins = []
    for _ in range(clusters - 1):
        total = best[:, None] + cost
        begins.append(np.argmin(total, axis=0))
        best = np.min(total, axis=0)
    edges = [count]
    for begin in reversed(begins):
        edges.append(int(begin[edges[-1]]))
    return np.array([0, *reversed(edges)])


def entropy_kmeans(
    values: np.ndarray,
    centroids: np.ndarray,
    lagrangian: float,
    importance: np.ndarray | None = None,
    iterations: int = 50,
) -> tuple[np.ndarray, np.ndarray]:
    """Entropy-constrained scalar quantization (ECSQ), starting from the given centroids.

    Minimizes ``sum_i h_i (w_i - c_z(i))**2 + lagrangian * sum_i -log2(p_z(i))``. It alternates over the assignments z,
    the centroids ``c_k = sum h w / sum h`` and the fraction p_k of the values that use centroid k. With an ideal
    entropy code the second sum is the number of bits. Returns the same as ``scalar_kmeans``; unused centroids are
    removed.
    """
    values = np.asarray(values, dtype=np.float64)
    weights = np.ones_like(values) if importance is None else np.asarray(importance, dtype=np.float64)
    index, _ = _cheapest(values, weights, centroids, np.zeros(len(centroids)))
    before = np.inf
    for _ in range(iterations):
        index, centroids = _means(values, weights, index)
        rate = -lagrangian * np.log2(np.bincount(index) / len(values))
        index, cost = _cheapest(values, weights, centroids, rate)
        if cost >= before * (1 - 1e-5):  # converged: the cost falls with each step, ever more slowly
            break
        before = cost
    index, centroids = _means(values, weights, index)
    order = np.argsort(centroids)
    return centroids[order], np.argsort(order)[index]


def _means(values: np.ndarray, weights: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Removes unused centroids. Returns the assignments to the remaining ones, and these centroids."""
    used = np.bincount(index) > 0
    index = (np.cumsum(used) - 1)[index]
    return index, np.bincount(index, weights * values) / np.bincount(index, weights)


def _cheapest(
    values: np.ndarray, weights: np.ndarray, centroids: np.ndarray, rate: np.ndarray
) -> tuple[np.ndarray, float]:
    """Assigns each value (N,) to the centroid (K,) of the lowest cost, the first of equals.

    Returns the centroid indices (N,) and the sum of the costs.
    """
    chosen, costs = np.empty(len(values), np.int64), np.empty(len(values))
    step = max(1, _TABLE // len(centroids))
    for start in range(0, len(values), step):
        part = slice(start, start + step)
        table = weights[part, None] * (values[part, None] - centroids) ** 2 + rate
        chosen[part] = np.argmin(table, axis=1)
        costs[part] = np.min(table, axis=1)
    return chosen, float(np.cumsum(costs)[-1])  # summed in order, so that the result does not depend on `step`


def vector_kmeans(vectors: np.ndarray, clusters: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Clusters vectors (N, d) with scikit-learn's k-means (k-means++ initialization).

    Returns codewords (K, d) and assignments (N,). K is the smaller of ``clusters`` and the number of distinct vectors.
    """
    from sklearn.cluster import KMeans  # this import takes a second
    from threadpoolctl import threadpool_limits

    clusters = check_clusters(clusters)
    distinct, where = np.unique(vectors, axis=0, return_inverse=True)
    if len(distinct) <= clusters:
        return distinct, where.ravel()
    with threadpool_limits(1):  # at these sizes threads spend more time on synchronization than on computation
        found = KMeans(clusters, n_init=1, random_state=seed).fit(vectors)
    return found.cluster_centers_, found.labels_.astype(np.int64)
