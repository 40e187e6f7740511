"""Settings of a training from the options of ``bitfabric train``."""

from pathlib import Path
from typing import Any

import typer

from flows.cli.arguments import widths
from quant.distillation.settings import Distillation
from quant.training.config import Exits, Pruning, TrainConfig, Tying
from quant.training.width_search import WidthSearch

_OPTION = {name: f"--prune-{name}" for name in ("layers", "structure", "jointly", "span", "by", "lasso", "decay")}


def pruning(fraction: float | None, **given: Any) -> Pruning | None:
    """The settings of ``--prune`` and its options. Raises typer.BadParameter for options without ``--prune``."""
    chosen = {name: value for name, value in given.items() if value}
    target, fps = chosen.pop("target", None), chosen.pop("fps", None)
    if fraction is None:
        for name in (*chosen, *(["target"] if target else []), *(["fps"] if fps else [])):
            raise typer.BadParameter(f"{_OPTION.get(name, '--' + name)} needs --prune FRACTION")
        return None
    if fps and not target:
        raise typer.BadParameter("--fps needs --target, on which that is the rate")
    by = chosen.pop("by", "lut" if target else "size")
    if (by == "size") == bool(target):
        raise typer.BadParameter(
            "--target is for --prune-by lut, cycles or rom_bits" if target else f"--prune-by {by} needs --target"
        )
    if by == "cycles" and fps:
        raise typer.BadParameter("--prune-by cycles needs no --fps: the rate is what it raises")
    if "span" in chosen:
        chosen["begin"], chosen["end"] = chosen.pop("span")
    return Pruning(fraction, by=by, **chosen)


def tying(structure: str | None, layers: list[str] | None) -> Tying | None:
    """The settings of ``--tie``. Raises typer.BadParameter for ``--tie-layers`` without it."""
    if structure is None:
        if layers:
            raise typer.BadParameter("--tie-layers needs --tie STRUCTURE")
        return None
    return Tying(structure, None if layers is None else tuple(layers))


def distillation(teachers: list[Path] | None, terms: str | None, **given: Any) -> Distillation | None:
    """The settings of ``--distill`` and its kin. Raises typer.BadParameter for any of them without ``--teacher``."""
    chosen = {name: value for name, value in given.items() if value is not None}
    if terms is not None:
        chosen["terms"] = tuple(term.strip() for term in terms.split(","))
    if not chosen:
        return None
    if not teachers:
        first = next(iter(chosen))
        option = {"terms": "distill", "layers": "distill-layers", "hint_share": "hint-share"}.get(first, first)
        raise typer.BadParameter(f"--{option} needs --teacher RUN/")
    if "layers" in chosen:
        chosen["layers"] = tuple(chosen["layers"])
    return Distillation(**chosen)


def exits(share: float | None, drop: float | None, weights: list[float] | None) -> Exits | None:
    """The settings of ``--exit-share`` and its kin; None without any."""
    if share is None and drop is None and not weights:
        return None
    return Exits(share, drop or 0.0, tuple(weights) if weights else None)


def size(text: str | None) -> tuple[int, int] | None:
    """The height and width of ``--image-size HxW``. Raises typer.BadParameter for another form."""
    if text is None:
        return None
    height, _, width = text.partition("x")
    if not height.isdecimal() or not width.isdecimal():
        raise typer.BadParameter(f"--image-size {text!r} is no height and width, as in --image-size 32x32")
    return int(height), int(width)


def weights(text: str) -> tuple[float, ...] | str:
    """The value of ``--class-weights``. Raises typer.BadParameter for another form."""
    if text == "balanced":
        return text
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(
            f"--class-weights {text!r} is no list of numbers, as in --class-weights 1,2.5, and not balanced"
        ) from None


def learning(weights: str | None, activations: str | None, **given: Any) -> WidthSearch | None:
    """The settings of ``--learn-widths``, ``--learn-acts`` and their kin. Raises typer.BadParameter for these without
    the former, and for lists of another form."""
    chosen = {name: value for name, value in given.items() if value is not None}
    if weights is None and activations is None:
        for option in chosen:
            raise typer.BadParameter(f"--learn-{option} needs --learn-widths or --learn-acts")
        return None
    return WidthSearch(
        () if weights is None else widths("--learn-widths", weights, ternary=True),
        () if activations is None else widths("--learn-acts", activations, ternary=False),
        **chosen,
    )


def cost(config: TrainConfig, target: str | None, fps: float | None) -> Any:
    """The cost model of ``--target`` and ``--fps``; None without a target."""
    if target is None or (config.prune is None and config.widths is None):
        return None
    from flows.cost import cost_on

    return cost_on(target, fps)
