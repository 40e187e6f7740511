"""The networks that a study begins with."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flows.explore.sensitivity import sensitivity
from flows.explore.space import Choice, Dimensions
from flows.explore.trial import Trials
from flows.explore.tried import representatives
from hw.host.errors import UsageError

UNIFORM = (1, 1), (2, 2), (4, 4), (8, 8)
"""Widths of weights and activations of the networks that a study begins with."""
SHARE = 4
"""Of a study's trials, at most one in so many begins with widths of a sensitivity front."""


def first_networks(dimensions: Dimensions, trials: int) -> list[dict[str, Choice]]:
    """The networks that a study of so many trials begins with: all, of a small space; else those of uniform widths."""
    if dimensions.size <= trials:
        return list(dimensions.every())
    uniform = [dimensions.uniform(*widths) for widths in UNIFORM]
    return [params for i, params in enumerate(uniform) if params not in uniform[:i]][:trials]


def sensitive_networks(run: str | os.PathLike[str], networks: Trials) -> list[dict[str, Choice]]:
    """Networks whose widths by layer are those of the front of ``sensitivity`` of a trained network, the cheapest
    first: points that stand for it, at most one in ``SHARE`` of the study's trials.

    Widths are those of the space; one that it has not is replaced by the nearest. All other dimensions are as in the
    study's uniform networks.

    Raises UsageError for a space without widths by layer, and for a run of a network with other layers, and what
    ``sensitivity`` raises.
    """
    settings, dimensions = networks.settings, networks.dimensions
    space = settings.space
    if space.uniform or not (space.bits or space.acts):
        raise UsageError(
            "--start-from gives widths by layer, which this space does not choose: add bits or acts, and leave "
            "uniform: true out"
        )
    found = sensitivity(
        run,
        settings.target,
        fps=settings.fps,
        clock_mhz=settings.clock_mhz,
        weight_widths=space.bits,
        activation_widths=tuple(bits for bits in space.acts if bits > 1),  # signs need a training
    )
    points: Sequence[Mapping[str, Any]] = found["front"]
    layers, activations = tuple(points[0]["layers"]), tuple(points[0]["activations"])
    if (layers, activations) != (dimensions.layers, dimensions.activations):
        raise UsageError(
            f"{Path(run)} is a network with the layers {', '.join(layers)}, and {settings.model} has "
            f"{', '.join(dimensions.layers)}: give a run of {settings.model}"
        )
    places = representatives(
        [(point["cost"]["share"], -point["loss"]) for point in points], max(1, settings.trials // SHARE)
    )
    starting: list[dict[str, Choice]] = []
    for point in (points[i] for i in places):
        widths = {f"bits.{name}": width for name, width in point["layers"].items()}
        widths |= {f"acts.{name}": width for name, width in point["activations"].items()}
        params = dimensions.uniform(4, 4)
        for name, choices in dimensions.choices.items():
            if name in widths:
                params[name] = _nearest(widths[name], choices)
        if params not in starting:
            starting.append(params)
    return starting


def _nearest(width: Choice, choices: Sequence[Choice]) -> Choice:
    """The choice whose number of bits is nearest by its ratio, of two equally near ones the larger."""
    if width in choices:
        return width
    return min(choices, key=lambda each: (abs(math.log(_bits(each) / _bits(width))), -_bits(each)))


def _bits(width: Choice) -> float:
    return 1.6 if width == "ternary" else float(width)
