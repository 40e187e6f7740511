"""Weight sharing: each weight of a layer, or of all layers, is one of a few trainable centroids."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch

from quant.compression.forms import Codewords, Pruned, Shared
from quant.compression.kmeans import check_clusters, entropy_kmeans, scalar_kmeans
from quant.compression.weights import (
    Layer,
    Layers,
    Model,
    attach,
    compressing,
    compression_of,
    for_layer,
    own_grid,
    weight_of,
)
from quant.errors import QuantError

Importance = Mapping[str, torch.Tensor]
# (values, importance, name of the first layer, layer) -> (centroids, index)
_Quantizer = Callable[[np.ndarray, np.ndarray | None, str, Layer], tuple[np.ndarray, np.ndarray]]


def share_weights(
    model: Model,
    clusters: int | Mapping[str, int] = 16,
    *,
    layers: Layers = None,
    init: str = "linear",
    importance: Importance | None = None,
    jointly: bool = False,
    seed: int = 0,
) -> Model:
    """Returns a copy of ``model`` whose weights have at most ``clusters`` distinct values per layer, found by k-means.

    k-means minimizes ``sum_i h_i (w_i - c_z(i))**2``; the centroid is ``c_k = sum_i h_i w_i / sum_i h_i`` over the
    weights that are assigned to it. Pruned weights stay 0. A layer with n weights needs ``n * log2(clusters)`` bits and
    a codebook, and less with the Huffman code of ``encode``.

    The centroids stay trainable, with ``quant.fit`` or any other loop; the assignments are fixed. The gradient of a
    centroid is the sum over all of its weights, so learning rates should be small:
    ``fit(small, config=TrainConfig(learning_rate=(1e-3, 1e-5)))``.

    - ``clusters``: a number, or a number by layer: ``{"conv": 256, "linear": 32}``, or by patterns of names.
    - ``init``: the initial centroids are spaced evenly over the range ("linear", which preserves the rare large
      weights) or over the quantiles ("density"), or drawn with ``seed`` ("random"). "exact" finds the global optimum
      instead (up to 2048 distinct weights: quantized layers).
    - ``importance``: h by layer name, as ``curvature`` returns it. Default: 1, which is plain k-means.
    - ``jointly``: one codebook for all chosen layers; ``clusters`` must then be one number.

    In a Brevitas layer the centroids are rounded to the integers of the layer's quantizer, at its current scale.

    Gong, Liu, Yang, Bourdev, "Compressing deep convolutional networks using vector quantization", 2014 (fully connected
    layers, no training). Published: 16 to 24 times compression at 1 % loss of accuracy for an ImageNet network. Han,
    Mao, Dally, "Deep compression", ICLR 2016 (linear start, trained centroids). Choi, El-Khamy, Lee, "Towards the limit
    of network quantization", ICLR 2017 (importance from the diagonal of the Hessian, all layers jointly).

    Raises QuantError (status 2) for an invalid argument, and for layers of 1-bit weights or codewords.
    """

    def quantize(
        values: np.ndarray, weights: np.ndarray | None, name: str, layer: Layer
    ) -> tuple[np.ndarray, np.ndarray]:
        return scalar_kmeans(values, for_layer(clusters, "clusters", name, layer), weights, init, seed)

    if jointly and isinstance(clusters, Mapping):
        raise QuantError("jointly=True makes one codebook for all layers: give one number of clusters", status=2)
    return _share(model, layers, importance, jointly, quantize)


def uniform_quantize(
    model: Model,
    step: float | None = None,
    *,
    layers: Layers = None,
    importance: Importance | None = None,
    jointly: bool = True,
) -> Model:
    """Returns a copy of ``model`` with weights quantized by a uniform step, which suits the Huffman code of ``encode``.

    Weight w belongs to cell ``round(w / step)``. The value of a cell is the (importance-weighted) mean of its weights
    and stays trainable, as in ``share_weights``. Without ``step`` the cells are the integers of the layers' own
    quantizers. This requires quantized layers; their weights do not change, only their storage does.

    Choi, El-Khamy, Lee, "Towards the limit of network quantization", ICLR 2017. Published (with Huffman coding): 51.25
    times smaller LeNet, 22.17 times ResNet-32, 40.65 times AlexNet.

    Raises QuantError (status 2) for an invalid argument, and for layers of 1-bit weights or codewords.
    """
    if step is not None and not (math.isfinite(step) and step > 0):
        raise QuantError(f"step={step!r} is no positive number", status=2)

    def quantize(
        values: np.ndarray, weights: np.ndarray | None, name: str, layer: Layer
    ) -> tuple[np.ndarray, np.ndarray]:
        if step is None:
            grid = own_grid(layer)
            if grid is None or grid.scale.dim():
                kind = "floating-point weights" if grid is None else "a scale for each channel"
                raise QuantError(f"layer {name} has {kind}: give a step", status=2)
            return np.unique(values, return_inverse=True)
        _, index = np.unique(np.rint(values / step), return_inverse=True)
        return np.bincount(index, None if weights is None else weights * values) / np.bincount(index, weights), index

    def weighted(
        values: np.ndarray, weights: np.ndarray | None, name: str, layer: Layer
    ) -> tuple[np.ndarray, np.ndarray]:
        return quantize(values, np.ones_like(values) if weights is None else weights, name, layer)

    return _share(model, layers, importance, jointly and step is not None, weighted)


def entropy_quantize(
    model: Model,
    lagrangian: float,
    clusters: int = 64,
    *,
    layers: Layers = None,
    importance: Importance | None = None,
    jointly: bool = True,
) -> Model:
    """Returns a copy of ``model`` after entropy-constrained scalar quantization (ECSQ) of its weights.

    ECSQ minimizes the size *after* entropy coding together with the error:
    ``sum_i h_i (w_i - c_z(i))**2 / V - lagrangian * sum_i log2(p_z(i))``. It alternates over the assignments z, the
    centroids c and the fraction p_k of the weights that use centroid k. It starts from k-means with ``clusters``
    centroids; centroids that become unused are removed. V is ``sum h w**2 / N``: with ``lagrangian`` = 0.01, saving one
    bit is worth an error of 1 % of the mean square on one weight.

    Choi, El-Khamy, Lee, "Towards the limit of network quantization", ICLR 2017.

    Raises QuantError (status 2) for an invalid argument, and for layers of 1-bit weights or codewords.
    """
    if not (math.isfinite(lagrangian) and lagrangian >= 0):
        raise QuantError(f"lagrangian={lagrangian!r} is no number of 0 or more", status=2)
    check_clusters(clusters)

    def quantize(
        values: np.ndarray, weights: np.ndarray | None, name: str, layer: Layer
    ) -> tuple[np.ndarray, np.ndarray]:
        h = np.ones_like(values) if weights is None else weights
        centroids, _ = scalar_kmeans(values, clusters, weights)
        return entropy_kmeans(values, centroids, lagrangian * float(np.mean(h * values**2)), h)

    return _share(model, layers, importance, jointly, quantize)


def _share(model: Model, layers: Layers, importance: Importance | None, jointly: bool, quantize: _Quantizer) -> Model:
    with compressing(model, layers) as (small, chosen):
        groups = [list(chosen)] if jointly else [[name] for name in chosen]
        for group in groups:
            _share_group({name: chosen[name] for name in group}, importance, quantize)
    return small


def _share_group(layers: dict[str, Layer], importance: Importance | None, quantize: _Quantizer) -> None:
    """Replaces the weights of all given layers by centroids of one common codebook."""
    weights = {name: weight_of(layer) for name, layer in layers.items()}
    kept = {name: _kept(name, layer) for name, layer in layers.items()}
    values = _concatenated(weights, kept)
    h = None if importance is None else _concatenated(_checked(importance, weights), kept)
    if h is not None:
        h = np.maximum(h, 1e-6 * float(h.mean()) or 1.0)  # weights of importance 0 need a centroid as well
    name, layer = next(iter(layers.items()))
    centroids, index = quantize(values, h, name, layer) if len(values) else (np.zeros(1), np.zeros(0))
    shared = torch.nn.Parameter(torch.from_numpy(centroids).float().to(weights[name].device))
    parts = np.split(index, np.cumsum([int(mask.sum()) for mask in kept.values()])[:-1])
    for (name, layer), part in zip(layers.items(), parts, strict=True):
        full = torch.full(weights[name].shape, len(centroids), dtype=torch.int32)
        full[kept[name].cpu()] = torch.from_numpy(part).to(torch.int32)
        attach(layer, Shared(shared, full), own_grid(layer))


def _kept(name: str, layer: Layer) -> torch.Tensor:
    form = compression_of(layer)
    if isinstance(form, Codewords):
        raise QuantError(f"layer {name} consists of codewords: share the weights of the uncompressed network", status=2)
    if isinstance(form, Pruned):
        return form.mask
    if isinstance(form, Shared):
        return form.index < len(form.values)
    return torch.ones(weight_of(layer).shape, dtype=torch.bool)


def _concatenated(tensors: Mapping[str, torch.Tensor], kept: Mapping[str, torch.Tensor]) -> np.ndarray:
    return np.concatenate([tensors[name].cpu()[mask.cpu()].double().numpy() for name, mask in kept.items()])


def _checked(importance: Importance, weights: Mapping[str, torch.Tensor]) -> Importance:
    for name, weight in weights.items():
        if name not in importance or importance[name].shape != weight.shape:
            raise QuantError(f"importance has no tensor of shape {tuple(weight.shape)} for layer {name}", status=2)
        if not bool((importance[name] >= 0).all()):
            raise QuantError(f"importance of layer {name} is negative or not a number somewhere", status=2)
    return importance
