"""The convolutional network of the benchmarks: CNV-w1a1 for CIFAR-10 at full size, 8-bit pixels."""

from pathlib import Path

import numpy as np
import torch

from quant import create_model, export

SHAPE, HIGHEST = (3, 32, 32), 255


def frames(count: int, seed: int = 0) -> np.ndarray:
    """Random images ``(count, 3, 32, 32)``, float32 whole numbers 0..255."""
    return np.random.default_rng(seed).integers(0, HIGHEST, (count, *SHAPE), endpoint=True).astype(np.float32)


def make(folder: Path) -> Path:
    """Writes ``folder/cnv.onnx`` and returns its path.

    The weights are random, which neither speed nor cost notice; BatchNorm's statistics are taken from random images,
    so that the thresholds lie where those of a trained network do.
    """
    torch.manual_seed(0)
    network = create_model("cnv-w1a1", input_shape=SHAPE, in_range=(0, HIGHEST))
    network.train()
    with torch.no_grad():
        for seed in range(10):
            network(torch.from_numpy(frames(16, seed)))
    path = folder / "cnv.onnx"
    export(network.eval(), path, frames(4))
    return path
