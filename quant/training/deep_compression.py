"""Deep Compression of a trained network."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from quant.compression.pruning import prune
from quant.compression.sharing import share_weights
from quant.compression.weights import Layers
from quant.data import DataSet
from quant.distillation.teacher import TeacherLike
from quant.models.network import Network
from quant.training.config import CENTROID_RATE, TrainConfig
from quant.training.loop import fit


def deep_compression(
    model: Network,
    data: DataSet | str = "digits",
    config: TrainConfig | None = None,
    *,
    fraction: float | Mapping[str, float] = 0.8,
    clusters: int | Mapping[str, int] = 32,
    jointly: bool = False,
    centroid_rate: tuple[float, float] = CENTROID_RATE,
    layers: Layers = None,
    teacher: TeacherLike | Sequence[TeacherLike] | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    progress: bool | None = None,
) -> Network:
    """Returns a compressed copy: prunes, trains the remaining weights, shares them, trains the centroids.

    ``fraction`` and ``jointly`` as in ``prune``, ``clusters`` as in ``share_weights``. Each of the two trainings is
    ``quant.fit`` on ``data`` with ``config`` (default: 20 epochs), ``teacher`` and ``progress``. The centroids have the
    learning rates ``centroid_rate`` instead of those of ``config``. ``checkpoint`` names a folder for the states of
    both trainings, with which ``resume=True`` continues, as in ``quant.fit``. ``layers`` as in ``prune``. The third
    step, Huffman coding, is part of ``encode``; ``report`` includes it in the sizes.

    Han, Mao, Dally, "Deep compression: Compressing deep neural networks with pruning, trained quantization and Huffman
    coding", ICLR 2016. Published: AlexNet from 240 to 6.9 MB (35 times), VGG-16 from 552 to 11.3 MB (49 times), without
    loss of accuracy.

    Raises QuantError (status 2) as ``prune``, ``share_weights`` and ``fit`` do.
    """
    config = TrainConfig(epochs=20) if config is None else config

    def train(small: Network, settings: TrainConfig, step: str) -> None:
        place = None if checkpoint is None else checkpoint / step
        fit(small, data, settings, teacher=teacher, checkpoint=place, resume=resume, progress=progress)

    pruned = prune(model, fraction, layers=layers, jointly=jointly)
    train(pruned, config, "pruned")
    shared = share_weights(pruned, clusters, layers=layers)
    train(shared, replace(config, learning_rate=centroid_rate), "shared")
    return shared
