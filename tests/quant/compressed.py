"""Networks to compress, and ways to, for the tests of ``quant.compression``."""

from functools import cache

import torch

from quant import TrainConfig, compression, create_model, fit, load_data
from quant.compression.structures import to_matrix
from quant.compression.weights import compression_of


@cache
def digits():
    return load_data("digits")


def new_network(**options):
    data = digits()
    return create_model("tfc-w8a8", input_shape=data.shape, in_range=(data.low, data.high), **options)


@cache
def trained_network():
    """Not to be changed: all tests share it."""
    torch.manual_seed(0)
    model = new_network()
    assert fit(model, digits(), TrainConfig(epochs=8)).test_accuracy > 0.95
    return model


def convolutional(seed: int = 0) -> torch.nn.Sequential:
    """Floating point, 1-D tensors besides the weights, a weight without bias."""
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Conv2d(2, 6, 3, stride=2, padding=1, bias=False),
        torch.nn.BatchNorm2d(6),
        torch.nn.ReLU(),
        torch.nn.Conv2d(6, 8, 3, dilation=2, padding=2),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(8 * 16, 10),
    ).eval()


def images(count: int = 20) -> torch.Tensor:
    return torch.randn(count, 2, 8, 8, generator=torch.Generator().manual_seed(5))


METHODS = {
    "shared": lambda model: compression.share_weights(model, 8),
    "jointly shared": lambda model: compression.share_weights(model, 16, jointly=True),
    "uniform": lambda model: compression.uniform_quantize(model, 0.03),
    "entropy": lambda model: compression.entropy_quantize(model, 0.02),
    "product": lambda model: compression.product_quantize(model, 4, 3),
    "residual": lambda model: compression.residual_quantize(model, 4, 2),
    "pruned": lambda model: compression.prune(model, 0.7),
    "pruned and shared": lambda model: compression.share_weights(compression.prune(model, 0.75), 8),
    "snapped": lambda model: compression.snap(compression.share_weights(compression.prune(model, 0.5), 8), 5),
    "jointly snapped": lambda model: compression.snap(compression.share_weights(model, 8, jointly=True), 6),
    "snapped codewords": lambda model: compression.snap(compression.product_quantize(model, 4, 3), 6),
    "circulant": lambda model: compression.tie(model, "circulant:2"),
    "hashed": lambda model: compression.tie(model, "hashed:4"),
    "some layers": lambda model: compression.share_weights(model, 4, layers=["*[0-9]*"]),
}


def pruned_matrix(layer) -> torch.Tensor:
    """The mask of a layer as (MH, MW)."""
    return to_matrix(compression_of(layer).mask)
