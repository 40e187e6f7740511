"""The network of all benchmarks: TFC-w1a1 for MNIST (784-64-64-64-10), 1-bit pixels as FINN's TFC has them."""

from pathlib import Path

import numpy as np
import torch

from quant import create_model, export

PIXELS, HIGHEST = 784, 255


def frames(count: int, seed: int = 0) -> np.ndarray:
    """Random images ``(count, 784)``, float32 whole numbers 0..255."""
    return np.random.default_rng(seed).integers(0, HIGHEST, (count, PIXELS), endpoint=True).astype(np.float32)


def make(folder: Path) -> Path:
    """Writes ``folder/tfc.onnx`` and returns its path.

    The weights are random, which neither speed nor cost notice; BatchNorm's statistics are taken from random images,
    so that the thresholds lie where those of a trained network do.
    """
    torch.manual_seed(0)
    network = create_model("tfc-w1a1", input_shape=(PIXELS,), in_bits=1, in_range=(0, HIGHEST))
    network.train()
    with torch.no_grad():
        for seed in range(20):
            network(torch.from_numpy(frames(128, seed)))
    path = folder / "tfc.onnx"
    export(network.eval(), path)
    return path
