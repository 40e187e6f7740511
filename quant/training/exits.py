"""Early exits in a training: the thresholds, from the margins of validation frames, and what they give."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from quant.errors import QuantError, QuantWarning
from quant.layers import EarlyExits
from quant.training.exit_settings import Exits

__all__ = ["ExitFigures", "choose_thresholds", "describe_exits", "exits_of", "measure_exits", "prepare_exits"]

SHARES = tuple(each / 100 for each in range(1, 100))
"""Shares of frames that go on that are tried."""


@dataclass(frozen=True)
class ExitFigures:
    """What the heads of a network give on some frames, as fractions of 1.

    - ``accuracy``: of the network, in which every frame has one head's result.
    - ``heads``: the accuracy of each head alone, the last one included.
    - ``going_on``: by exit, the share of the frames that reach it that goes on there: ``--exit-share`` of a build.
    """

    accuracy: float
    heads: tuple[float, ...]
    going_on: tuple[float, ...]


def exits_of(model: torch.nn.Module) -> EarlyExits | None:
    """Returns the early exits of a network. Raises QuantError (status 2) for several layers of them."""
    found = [module for module in model.modules() if isinstance(module, EarlyExits)]
    if len(found) > 1:
        raise QuantError(f"a network has one layer EarlyExits for all of its exits, not {len(found)}", status=2)
    return found[0] if found else None


def prepare_exits(model: torch.nn.Module, settings: Exits, validation: float) -> EarlyExits | None:
    """Returns the early exits of a network before a training: no frame leaves, heads have the weights of ``settings``.

    Raises QuantError (status 2) for settings of a network without early exits, for weights of another number of exits,
    and where ``validation``, the share of the training set, is 0.
    """
    exits = exits_of(model)
    if exits is None:
        if settings != Exits():
            raise QuantError(
                f"exit {_set(settings)}, and the network has no early exits: create it with early_exit=1 "
                "(--early-exit 1)",
                status=2,
            )
        return None
    if not validation:
        raise QuantError(
            "early exits take their thresholds from validation frames: give validation=0.1 (--validation 0.1)", status=2
        )
    exits.weights = settings.weights_of(exits.exits)
    exits.thresholds.fill_(math.inf)
    return exits


def _set(settings: Exits) -> str:
    """The settings that are not the default, for a message."""
    given = ((name, getattr(settings, name)) for name in ("share", "drop", "weights"))
    return ", ".join(f"{name}={value}" for name, value in given if value != getattr(Exits(), name))


@torch.no_grad()
def head_logits(model: torch.nn.Module, x: torch.Tensor, batch_size: int = 4096) -> torch.Tensor:
    """Returns the logits of every head behind the common quantizer, (heads, N, classes), in eval mode."""
    exits = exits_of(model)
    assert exits is not None
    parts: list[torch.Tensor] = []
    hook = exits.register_forward_pre_hook(lambda exits, heads: parts.append(torch.stack(exits.quantized(heads))))
    training = model.training
    try:
        model.eval()
        for part in x.split(batch_size):
            model(part.float())
    finally:
        hook.remove()
        model.train(training)
    return torch.cat(parts, 1)


def margins(logits: torch.Tensor) -> torch.Tensor:
    """Returns the difference of the two largest logits: (..., classes) -> (...)."""
    top = torch.topk(logits, 2, dim=-1).values
    return top[..., 0] - top[..., 1]


def choose_thresholds(model: torch.nn.Module, settings: Exits, x: torch.Tensor, y: torch.Tensor) -> None:
    """Sets the thresholds of a network's early exits, in place, by the margins of frames x (N, ...) with labels y.

    A threshold is in the middle between two margins that occur, so no rounding can change a verdict. At most the stated
    share of the frames that reach an exit goes on there, unless more of them have the smallest margin: these always go
    on. Without a stated share it is the smallest of SHARES with which the accuracy is at most ``settings.drop`` below
    that of the last head; where none is, the threshold is the largest, with a warning (QuantWarning).

    Raises QuantError where all frames have the same margin.
    """
    exits = exits_of(model)
    assert exits is not None
    logits = head_logits(model, x)
    gaps = margins(logits[:-1])
    if settings.share is not None:
        exits.thresholds.copy_(_thresholds(gaps, settings.share))
        return
    right = logits.argmax(2) == y
    least = float(right[-1].double().mean()) - settings.drop
    for share in SHARES:
        thresholds = _thresholds(gaps, share)
        if float(_of_heads(right, gaps, thresholds).double().mean()) >= least:
            break
    else:
        warnings.warn(
            f"no early exit keeps the accuracy of {least:.2%} on validation frames: {SHARES[-1]:.0%} go on; allow a "
            "larger drop, or take a later exit",
            QuantWarning,
            stacklevel=3,
        )
    exits.thresholds.copy_(thresholds)


def _thresholds(gaps: torch.Tensor, share: float) -> torch.Tensor:
    """The thresholds (exits,) with which at most ``share`` of the frames that reach an exit goes on.

    ``gaps`` (exits, N) are the margins.
    """
    reach = torch.ones(gaps.shape[1], dtype=torch.bool, device=gaps.device)
    found = []
    for number, each in enumerate(gaps, 1):
        values, counts = torch.unique(each[reach], return_counts=True)
        if len(values) < 2:  # few frames reach a later exit
            values, counts = torch.unique(each, return_counts=True)
        if len(values) < 2:
            raise QuantError(
                f"all validation frames have the same margin at early exit {number}: its head has learned nothing; "
                "train longer, or take a later exit"
            )
        below = counts.cumsum(0)[:-1] / counts.sum()  # going on, with a threshold behind each value but the last
        index = max(0, int((below <= share).sum()) - 1)
        found.append((values[index] + values[index + 1]) / 2)
        reach &= each < found[-1]
    return torch.stack(found)


def _of_heads(by_head: torch.Tensor, gaps: torch.Tensor, thresholds: Sequence[float] | torch.Tensor) -> torch.Tensor:
    """Of ``by_head`` (heads, N, ...), each frame's entry of the head where it leaves."""
    result = by_head[-1]
    for index in reversed(range(len(gaps))):
        result = torch.where(gaps[index] >= thresholds[index], by_head[index], result)
    return result


def describe_exits(
    model: torch.nn.Module, measured: Mapping[str, ExitFigures] | None, x: torch.Tensor, y: torch.Tensor
) -> dict[str, Any] | None:
    """Returns the ``thresholds`` of a network with early exits, and the figures that were ``measured``, or those of
    the ``test`` frames x (N, ...) with labels y (N,), as plain values; None for a network without."""
    exits = exits_of(model)
    if exits is None:
        return None
    figures = {"test": measure_exits(model, x, y)} if measured is None else measured
    return {"thresholds": exits.thresholds.tolist(), **{part: asdict(each) for part, each in figures.items()}}


def measure_exits(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> ExitFigures:
    """Returns the figures of a network with early exits on frames x (N, ...) with labels y (N,)."""
    exits = exits_of(model)
    assert exits is not None
    logits = head_logits(model, x)
    gaps, right = margins(logits[:-1]), logits.argmax(2) == y
    reach = torch.ones_like(y, dtype=torch.bool)
    going_on = []
    for each, threshold in zip(gaps, exits.thresholds, strict=True):
        on = reach & (each < threshold)
        going_on.append(int(on.sum()) / max(1, int(reach.sum())))
        reach = on
    return ExitFigures(
        accuracy=float(_of_heads(right, gaps, exits.thresholds).double().mean()),
        heads=tuple(right.double().mean(1).tolist()),
        going_on=tuple(going_on),
    )
