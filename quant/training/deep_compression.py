"""Deep Compression from a trained network to its bytes."""

from collections.abc import Mapping
from typing import Any

from quant.compression.pruning import prune
from quant.compression.sharing import share_weights
from quant.data import DataSet
from quant.models.network import Network
from quant.training.loop import fit


def deep_compression(
    model: Network,
    data: DataSet | str = "digits",
    *,
    fraction: float | Mapping[str, float] = 0.8,
    clusters: int | Mapping[str, int] = 32,
    epochs: int = 20,
    seed: int = 0,
    centroid_rate: tuple[float, float] = (1e-3, 1e-5),
    **fit_options: Any,
) -> Network:
    """A compressed copy: prune, train the remaining weights, share them, train the centroids.

    ``fraction`` as in ``prune``, ``clusters`` as in ``share_weights``; each training is ``quant.fit`` on ``data`` for
    ``epochs`` with ``fit_options``, the centroids' with the learning rates ``centroid_rate``. ``encode`` adds the third
    step, Huffman coding, and ``report`` counts it.

    Han, Mao, Dally, "Deep compression: Compressing deep neural networks with pruning, trained quantization and Huffman
    coding", ICLR 2016. Published: AlexNet from 240 to 6.9 MB (35 times), VGG-16 from 552 to 11.3 MB (49 times), without
    loss of accuracy.

    Raises QuantError (status 2) for a bad argument.
    """
    pruned = prune(model, fraction)
    fit(pruned, data, epochs, seed, **fit_options)
    shared = share_weights(pruned, clusters)
    fit(shared, data, epochs, seed, **{**fit_options, "learning_rate": centroid_rate})
    return shared
