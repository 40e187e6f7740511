"""Compression of trained networks: pruning, slimming, weight sharing, product quantization, entropy coding, and sizes.

    from quant import compression

    small = compression.share_weights(model, clusters=16)
    print(compression.report(small))

The methods accept any torch module that has linear or convolution layers, of torch or of Brevitas. They return a
compressed copy and do not change their argument. The copy is an ordinary network: ``quant.fit`` or any other loop
trains its remaining parameters (unpruned weights, shared values, codewords), and ``quant.save_checkpoint`` and
``quant.export`` write it. Layers with quantized weights keep their integer grid; ``snap`` gives them a power-of-two
scale.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from quant.compression.channel_lasso import slim_by_lasso
from quant.compression.coding import decode, encode
from quant.compression.criteria import SCORES, Removable, channel_savings, choose_channels
from quant.compression.layerwise import obq, obs
from quant.compression.low_rank import low_rank
from quant.compression.merging import merge_neurons
from quant.compression.mixture import Mixture, share_by_mixture
from quant.compression.pruning import prune
from quant.compression.regularizers import BIASES, shrink
from quant.compression.saving import savings
from quant.compression.sensitivity import curvature, curvature_from_adam, saliency
from quant.compression.sharing import entropy_quantize, share_weights, uniform_quantize
from quant.compression.size import Report, Row, report
from quant.compression.slimming import slim
from quant.compression.snapping import snap
from quant.compression.tying import tie
from quant.compression.vectors import product_quantize, residual_quantize
from quant.compression.weights import describe, prepare

if TYPE_CHECKING:
    from quant.training.deep_compression import deep_compression
    from quant.training.slimming import slim_by
    from quant.training.soft_sharing import soft_sharing

__all__ = [
    "BIASES",
    "SCORES",
    "Mixture",
    "Removable",
    "Report",
    "Row",
    "channel_savings",
    "choose_channels",
    "curvature",
    "curvature_from_adam",
    "decode",
    "deep_compression",
    "describe",
    "encode",
    "entropy_quantize",
    "low_rank",
    "merge_neurons",
    "obq",
    "obs",
    "prepare",
    "product_quantize",
    "prune",
    "report",
    "residual_quantize",
    "saliency",
    "savings",
    "share_by_mixture",
    "share_weights",
    "shrink",
    "slim",
    "slim_by",
    "slim_by_lasso",
    "snap",
    "soft_sharing",
    "tie",
    "uniform_quantize",
]


def __getattr__(name: str) -> Any:
    # Imported on first use: they import the training loop, which imports this package to read checkpoints.
    modules = {"deep_compression": "deep_compression", "slim_by": "slimming", "soft_sharing": "soft_sharing"}
    if name in modules:
        return getattr(import_module(f"quant.training.{modules[name]}"), name)
    raise AttributeError(f"module 'quant.compression' has no attribute {name!r}")
