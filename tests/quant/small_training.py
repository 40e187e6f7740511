"""A training of a few seconds, and how it is interrupted."""

import numpy as np
import torch

from quant import create_model
from quant.data import DataSet
from quant.schemes.scheme import Scheme


def small(seed: int = 0) -> DataSet:
    """Two easily told classes of 4 x 4 images."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 2, 300)
    x = (random.integers(0, 8, (300, 1, 4, 4)) + 8 * y[:, None, None, None]).astype(np.uint8)
    return DataSet("small", x[:200], y[:200], x[200:], y[200:], classes=2, low=0, high=16)


def model_for(data: DataSet, name: str = "tfc-w1a1", seed: int = 0):
    torch.manual_seed(seed)
    return create_model(name, input_shape=data.shape, classes=data.classes, in_range=(data.low, data.high))


def interrupt_after(monkeypatch, steps: int):
    """Lets the training of any scheme end in a Ctrl-C at that step."""
    original, count = Scheme.after_step, 0

    def after_step(self, layers, optimizer):
        nonlocal count
        count += 1
        if count > steps:
            raise KeyboardInterrupt
        original(self, layers, optimizer)

    monkeypatch.setattr(Scheme, "after_step", after_step)
