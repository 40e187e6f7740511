"""Models that the flows are tested on."""

import numpy as np
import onnx
import pytest

from tests.builders.qonnx_builder import Builder


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """A folder with a small network of 1-bit weights on 4-bit inputs, frames for it and their classes."""
    folder = tmp_path_factory.mktemp("small")
    rng = np.random.default_rng(7)
    build = Builder((1, 12))
    x = build.quant("x", 1.0, 4, signed=0)
    for inputs, outputs in ((12, 8), (8, 6)):
        weights = build.node("BipolarQuant", rng.normal(size=(inputs, outputs)), 1.0)
        x = build.node("MatMul", x, weights)
        x = build.node("Add", x, rng.integers(-6, 6, outputs) + 0.5)
        x = build.node("BipolarQuant", x, 1.0)
    x = build.node("MatMul", x, build.quant(rng.normal(size=(6, 3)), 0.5, 3, narrow=1))
    onnx.save(build.model((x, (1, 3))), folder / "model.onnx")
    frames = rng.integers(0, 16, (80, 12)).astype(np.float32)
    np.save(folder / "x.npy", frames)
    np.save(folder / "y.npy", rng.integers(0, 3, 80))
    return folder


@pytest.fixture(scope="session")
def big(tmp_path_factory):
    """A folder with a network of 1 Mbit of weights: more than the smallest devices hold."""
    folder = tmp_path_factory.mktemp("big")
    rng = np.random.default_rng(0)
    build = Builder((1, 256))
    x = build.quant("x", 1.0, 8, signed=1)
    for _ in range(2):
        x = build.node("MatMul", x, build.quant(rng.normal(size=(256, 256)), 0.05, 8))
        x = build.quant(x, 8.0, 8)
    onnx.save(build.model((x, (1, 256))), folder / "model.onnx")
    return folder
