"""Training side of bitfabric: from PyTorch and Brevitas to a QONNX file.

    from quant import create_model, export, fit, load_data

    data = load_data("digits")
    model = create_model("tfc-w1a1", input_shape=data.shape, classes=data.classes, in_range=(data.low, data.high))
    print(fit(model, data).test_accuracy)
    export(model, "model.onnx")

``import quant`` is fast: torch, Brevitas and Lightning are imported with the first name that needs them.
"""

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

from quant.errors import QuantError, require_training

if TYPE_CHECKING:
    from quant import compression, distillation, lookup, robustness, schemes
    from quant.cost import CostModel, LayerBits, LayerCost, LayerShape
    from quant.data import DataSet, load_data
    from quant.metrics import summary
    from quant.models import create_model, list_models, register_model
    from quant.models.network import Network
    from quant.post_training.quantize import quantize
    from quant.post_training.result import Quantization
    from quant.qonnx.export import export
    from quant.training.checkpoint import load_checkpoint, save_checkpoint
    from quant.training.compress import compress_run
    from quant.training.config import Exits, Pruning, Slimming, TrainConfig, TrainerOptions, Tying
    from quant.training.learned_widths import learn_widths
    from quant.training.loop import FitResult, fit
    from quant.training.quantized_run import quantize_run
    from quant.training.run import train_run
    from quant.training.width_search import WidthSearch

# On import Brevitas warns that an optional package is missing. Nothing here uses that package.
warnings.filterwarnings("ignore", message="fast_hadamard_transform package not found", module="brevitas")

_HOMES = {
    **dict.fromkeys(("CostModel", "LayerBits", "LayerCost", "LayerShape"), "quant.cost"),
    **dict.fromkeys(("DataSet", "load_data"), "quant.data"),
    **dict.fromkeys(("FitResult", "fit"), "quant.training.loop"),
    "Network": "quant.models.network",
    "compress_run": "quant.training.compress",
    "compression": "quant.compression",
    "create_model": "quant.models",
    "distillation": "quant.distillation",
    "robustness": "quant.robustness",
    "export": "quant.qonnx.export",
    "learn_widths": "quant.training.learned_widths",
    "WidthSearch": "quant.training.width_search",
    "list_models": "quant.models",
    "load_checkpoint": "quant.training.checkpoint",
    "lookup": "quant.lookup",
    "Quantization": "quant.post_training.result",
    "quantize": "quant.post_training.quantize",
    "quantize_run": "quant.training.quantized_run",
    "register_model": "quant.models",
    "save_checkpoint": "quant.training.checkpoint",
    "schemes": "quant.schemes",
    "summary": "quant.metrics",
    "train_run": "quant.training.run",
    **dict.fromkeys(
        ("Exits", "Pruning", "Slimming", "TrainConfig", "TrainerOptions", "Tying"), "quant.training.config"
    ),
}

__all__ = [
    "CostModel",
    "DataSet",
    "Exits",
    "FitResult",
    "LayerBits",
    "LayerCost",
    "LayerShape",
    "Network",
    "Pruning",
    "QuantError",
    "Quantization",
    "Slimming",
    "TrainConfig",
    "TrainerOptions",
    "Tying",
    "WidthSearch",
    "compress_run",
    "compression",
    "create_model",
    "distillation",
    "export",
    "fit",
    "learn_widths",
    "list_models",
    "load_checkpoint",
    "load_data",
    "lookup",
    "quantize",
    "quantize_run",
    "register_model",
    "robustness",
    "save_checkpoint",
    "schemes",
    "summary",
    "train_run",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'quant' has no attribute {name!r}")
    require_training()
    home = import_module(_HOMES[name])
    value = home if home.__name__ == f"quant.{name}" else getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
