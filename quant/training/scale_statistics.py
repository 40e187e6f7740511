"""Statistics from which Brevitas takes the first scales of activations, for the state of an unfinished training.

A quantizer of Brevitas with a learned scale measures its inputs for its first steps (``collect_stats_steps``, 300 by
default), and its scale starts from their average. ``state_dict`` has that average in place of the scale and not the
number of steps, so a training that goes on from it would measure no more.
"""

from collections.abc import Mapping
from typing import Any

import torch


def statistics_of(model: torch.nn.Module) -> dict[str, dict[str, Any]]:
    """Returns the steps that each quantizer has measured (``counter``), its average and its scale, by name."""
    return {
        name: {"counter": module.counter, **{part: getattr(module, part).detach().clone() for part in _TENSORS}}
        for name, module in model.named_modules()
        if _measures(module)
    }


@torch.no_grad()
def restore_statistics(model: torch.nn.Module, statistics: Mapping[str, Mapping[str, Any]]) -> None:
    """Gives the quantizers of ``model`` what ``statistics_of`` returned."""
    for name, module in model.named_modules():
        if name in statistics and _measures(module):
            module.counter = statistics[name]["counter"]
            for part in _TENSORS:
                getattr(module, part).copy_(statistics[name][part])


_TENSORS = ("buffer", "value")


def _measures(module: Any) -> bool:
    return hasattr(module, "collect_stats_steps") and all(hasattr(module, part) for part in ("counter", *_TENSORS))
