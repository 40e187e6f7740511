"""Networks with random weights, which neither speed nor cost notice, for what is measured on several."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from hw.families import families
from quant import create_model, export

ALL = tuple(families())


class Network(NamedTuple):
    """A reference network: its input, the options it is made with, the cycles a frame that it is folded for, and the
    families that it is synthesised for."""

    model: str
    shape: tuple[int, ...]
    highest: int
    options: dict[str, Any]
    cycles: int
    families: tuple[str, ...] = ALL


LARGE = ("ecp5", "xc7")
"""Families with devices that hold networks of some size."""
NETWORKS = {
    "tfc-w1a1": Network("tfc-w1a1", (64,), 16, {"in_bits": 1}, 100),
    "tfc-w2a2": Network("tfc-w2a2", (64,), 16, {}, 256),
    "lenet5-w8a8": Network("lenet5-w8a8", (1, 28, 28), 255, {}, 20_000, LARGE),
    "resnet8-w4a4": Network("resnet8-w4a4", (3, 32, 32), 255, {"width": 1 / 8}, 10_000, LARGE),
    "cnv-w1a1": Network("cnv-w1a1", (3, 32, 32), 255, {}, 300_000, ("ecp5",)),
    # These were looked at only when the resource model had been fitted.
    "jsc-mlp-w16a16": Network("jsc-mlp-w16a16", (16,), 255, {}, 64),
    "kws-mlp-w2a2": Network("kws-mlp-w2a2", (490,), 255, {}, 4000),
    "mobilenet-v1-w4a4": Network("mobilenet-v1-w4a4", (3, 32, 32), 255, {"width": 1 / 8}, 20_000, ("ecp5",)),
    # These are only placed (benchmarks.clocks).
    "sfc-w1a1": Network("sfc-w1a1", (784,), 255, {"in_bits": 1}, 512, ()),
    "jsc-mlp-w3a3": Network("jsc-mlp-w3a3", (16,), 255, {}, 64, ()),
    "lenet5-w1a2": Network("lenet5-w1a2", (1, 28, 28), 255, {}, 5000, ()),
    "vgg-small-w2a2": Network("vgg-small-w2a2", (3, 32, 32), 255, {"width": 1 / 8}, 20_000, ()),
    "tfc-mnist-w1a1": Network("tfc-w1a1", (784,), 255, {"in_bits": 1}, 8, ()),
}


def make(name: str, folder: Path) -> Path:
    """Writes ``folder/<name>.onnx`` and returns its path.

    BatchNorm's statistics are taken from random images, so that the thresholds lie where those of a trained network do.
    """
    network = NETWORKS[name]
    torch.manual_seed(0)
    model = create_model(network.model, input_shape=network.shape, in_range=(0, network.highest), **network.options)
    rng = np.random.default_rng(0)
    frames = rng.integers(0, network.highest, (10, 16, *network.shape), endpoint=True).astype(np.float32)
    model.train()
    with torch.no_grad():
        for batch in frames:
            model(torch.from_numpy(batch))
    path = folder / f"{name}.onnx"
    export(model.eval(), path, frames[0, :4])
    return path
