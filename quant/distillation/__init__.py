"""Distillation: a network learns from trained networks, its teachers, in addition to the labels or instead of them.

    from quant import TrainConfig, distillation, fit

    config = TrainConfig(distill=distillation.Distillation(("soft", "attention")))
    fit(student, data, config, teacher="teacher/")

Hardware does not change: only the student is exported. The names are imported on first use, so that the settings do not
import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from quant.distillation.settings import TERMS, Distillation

if TYPE_CHECKING:
    from quant.distillation.comparisons import discriminating
    from quant.distillation.guide import Guide
    from quant.distillation.losses import (
        attention_transfer,
        contrastive,
        hint,
        mimic,
        neuron_selectivity,
        soft_targets,
    )
    from quant.distillation.net2net import deepen, widen
    from quant.distillation.posterior import Posterior
    from quant.distillation.pseudo import pseudo_data
    from quant.distillation.teacher import Teacher

_MODULES = {
    "discriminating": "comparisons",
    "Guide": "guide",
    **dict.fromkeys(
        ("attention_transfer", "contrastive", "hint", "mimic", "neuron_selectivity", "soft_targets"), "losses"
    ),
    **dict.fromkeys(("deepen", "widen"), "net2net"),
    "Posterior": "posterior",
    "pseudo_data": "pseudo",
    "Teacher": "teacher",
}

__all__ = [
    "TERMS",
    "Distillation",
    "Guide",
    "Posterior",
    "Teacher",
    "attention_transfer",
    "contrastive",
    "deepen",
    "discriminating",
    "hint",
    "mimic",
    "neuron_selectivity",
    "pseudo_data",
    "soft_targets",
    "widen",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"quant.distillation.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
