"""Vector quantization of weights (product and residual quantization): weight rows are built from a few codewords."""

import copy
from collections.abc import Mapping

import numpy as np
import torch

from quant.compression.error_correction import Quadratic, correct, running_order
from quant.compression.forms import Codewords, to_rows
from quant.compression.kmeans import check_clusters, vector_kmeans
from quant.compression.weights import (
    Layer,
    Layers,
    Model,
    attach,
    check_form,
    compressing,
    compression_of,
    for_layer,
    map_layers,
    own_grid,
    weight_of,
)
from quant.errors import QuantError


def product_quantize(
    model: Model,
    clusters: int | Mapping[str, int] = 16,
    length: int | Mapping[str, int] = 4,
    *,
    layers: Layers = None,
    inputs: torch.Tensor | None = None,
    rounds: int = 3,
    seed: int = 0,
) -> Model:
    """Returns a copy of ``model`` whose weights are concatenated codewords of ``length`` numbers.

    The input dimension (of a convolution: its input channels) is split into M parts of ``length`` elements. Part m has
    a codebook D^(m) of K = ``clusters`` codewords. Each output channel and kernel position selects one of them:
    ``W^(m) ~ D^(m) B^(m)``, where B^(m) holds the assignments. k-means over the sub-vectors of each part finds the
    codebook. The codewords stay trainable. ``clusters`` and ``length`` may differ by layer:
    ``{"conv": 128, "linear": 16}``. In a Brevitas layer the weights are rounded to the integers of the layer's
    quantizer, at its current scale.

    With ``inputs`` (frames for the whole network) *error correction* follows, layer by layer in execution order. Let S
    be the layer's inputs in the network quantized so far, and T the responses of the uncompressed network. The error
    ``sum_n ||T_n - sum_m (D^(m) B^(m))^T S_n^(m)||**2`` is minimized by alternation: D by least squares, B by an
    exhaustive search over the codewords. There are ``rounds`` alternations; the error never increases.

    Gong, Liu, Yang, Bourdev, "Compressing deep convolutional networks using vector quantization", 2014 (product
    quantization of fully connected layers). Wu, Leng, Wang, Hu, Cheng, "Quantized convolutional neural networks for
    mobile devices", CVPR 2016 (Q-CNN: convolutions, error correction). Published: 15 to 20 times compression, 4 to 6
    times speed-up by tables of inner products, within 1 % of accuracy on ILSVRC-12.

    Raises QuantError (status 2) for an invalid argument, for layers that are already compressed, and with ``inputs``
    for layers other than linear and ungrouped convolutions of one or two axes.
    """
    if rounds < 0:
        raise QuantError(f"rounds={rounds} is negative", status=2)

    def change(name: str, layer: Layer) -> None:
        size = for_layer(clusters, "clusters", name, layer)
        _quantize(name, layer, size, for_layer(length, "length", name, layer), 1, seed)

    if inputs is None:
        return map_layers(model, layers, change)
    reference = copy.deepcopy(model).eval()
    with compressing(model, layers) as (small, chosen):
        for name in running_order(reference, inputs, list(chosen)):
            layer = chosen[name]
            weight = weight_of(layer)
            change(name, layer)
            form = compression_of(layer)
            assert isinstance(form, Codewords)
            correct(form, Quadratic.measure(small, reference, name, inputs, weight), rounds)
    return small


def residual_quantize(
    model: Model,
    clusters: int | Mapping[str, int] = 16,
    stages: int = 2,
    length: int | Mapping[str, int] | None = None,
    *,
    layers: Layers = None,
    seed: int = 0,
) -> Model:
    """Returns a copy of ``model`` whose weights are sums of ``stages`` codewords.

    The first stage is k-means over the weight rows. Each further stage is k-means over the residual of the stages
    before it. A row is the weight's vector over the input dimension (channels) for one output channel and kernel
    position. ``length`` splits the rows into parts as in ``product_quantize``; None uses whole rows. The codewords stay
    trainable.

    Gong, Liu, Yang, Bourdev, "Compressing deep convolutional networks using vector quantization", 2014 (residual
    quantization of fully connected layers).

    Raises QuantError (status 2) for an invalid argument and for layers that are already compressed.
    """
    check_clusters(stages)

    def change(name: str, layer: Layer) -> None:
        size = for_layer(clusters, "clusters", name, layer)
        part = weight_of(layer).shape[1] if length is None else for_layer(length, "length", name, layer)
        _quantize(name, layer, size, part, stages, seed)

    return map_layers(model, layers, change)


def _quantize(name: str, layer: Layer, clusters: int, length: int, stages: int, seed: int) -> None:
    check_form(name, layer, "codewords")
    if isinstance(length, bool) or not isinstance(length, int) or length < 1:
        raise QuantError(f"length={length!r} is no whole number of 1 or more", status=2)
    weight = weight_of(layer)
    rows = to_rows(weight).double().cpu().numpy()
    length = min(length, rows.shape[1])
    parts = -(-rows.shape[1] // length)
    padded = np.pad(rows, ((0, 0), (0, parts * length - rows.shape[1])))
    rest = padded.reshape(len(rows), parts, length).transpose(1, 0, 2).copy()  # (parts, rows, length)
    books, indices = [], []
    for _ in range(stages):
        found = [vector_kmeans(part, clusters, seed) for part in rest]
        rest -= np.stack([book[index] for book, index in found])
        size = max(len(book) for book, _ in found)
        books.append([np.pad(book, ((0, size - len(book)), (0, 0))) for book, _ in found])
        indices.append([index for _, index in found])
    size = max(len(stage[0]) for stage in books)
    codebooks = np.stack([np.pad(np.stack(stage), ((0, 0), (0, size - len(stage[0])), (0, 0))) for stage in books])
    form = Codewords(torch.from_numpy(codebooks).float(), torch.from_numpy(np.array(indices)), weight.shape)
    attach(layer, form, own_grid(layer))
