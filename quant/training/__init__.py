"""Training: the loop, its settings, run folders and checkpoints.

The names are imported on first use together with the modules that define them, so that settings, run folders and
checkpoints do not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quant.training.checkpoint import load_checkpoint, save_checkpoint
    from quant.training.config import (
        Augmentation,
        Bias,
        ChannelPenalty,
        Criterion,
        Loss,
        Pruning,
        Slimming,
        TrainConfig,
        TrainerOptions,
    )
    from quant.training.lightning_module import Epoch
    from quant.training.loop import FitResult, fit
    from quant.training.run import train_run

_MODULES = {
    **dict.fromkeys(("load_checkpoint", "save_checkpoint"), "checkpoint"),
    **dict.fromkeys(
        (
            "Augmentation",
            "Bias",
            "ChannelPenalty",
            "Criterion",
            "Loss",
            "Pruning",
            "Slimming",
            "TrainConfig",
            "TrainerOptions",
        ),
        "config",
    ),
    **dict.fromkeys(("FitResult", "fit"), "loop"),
    "Epoch": "lightning_module",
    "train_run": "run",
}
"""Name -> module. No module is named like one of its names."""

__all__ = [
    "Augmentation",
    "Bias",
    "ChannelPenalty",
    "Criterion",
    "Epoch",
    "FitResult",
    "Loss",
    "Pruning",
    "Slimming",
    "TrainConfig",
    "TrainerOptions",
    "fit",
    "load_checkpoint",
    "save_checkpoint",
    "train_run",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"quant.training.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
