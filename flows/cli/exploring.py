"""The command ``bitfabric sensitivity``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli.arguments import AsJson, Fps, Target, emit


def widths(option: str, text: str, *, ternary: bool) -> tuple[Any, ...]:
    """The widths of an option, as ``1,2,4``. Raises typer.BadParameter for another form."""
    found: list[Any] = []
    for part in (part.strip() for part in text.split(",")):
        if ternary and part == "ternary":
            found.append(part)
        elif part.isdecimal() and 1 <= int(part) <= 16:
            found.append(int(part))
        else:
            raise typer.BadParameter(f"{option} {text!r} is no list of widths of 1 to 16 bits, as {option} 2,4,8")
    return tuple(dict.fromkeys(found))


def sensitivity(
    run: Annotated[Path, typer.Argument(metavar="RUN/", help="a folder that `bitfabric train` left")],
    target: Target,
    fps: Fps = None,
    bits: Annotated[str, typer.Option(help="widths of weights; ternary is -1, 0, +1")] = "1,2,3,4,6,8",
    acts: Annotated[str, typer.Option(help="widths of hidden activations, from 2")] = "2,3,4,6,8",
    by: Annotated[
        str, typer.Option(help="what the front adds up over layers: loss (measured), or curvature (predicted)")
    ] = "loss",
    data: Annotated[str | None, typer.Option(help="place of the run's data, where it is another now")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure what each width of each layer would cost a trained network, and what it would save on a target.

    Prints a table of layers and widths, and the widths of all layers together that are best for their cost. Nothing is
    trained; frames are those that the training held out, or else training frames.

    Example: bitfabric sensitivity run/ --target ulx3s-85f --fps 100000
    """
    if by not in ("loss", "curvature"):
        raise typer.BadParameter(f"--by {by} is neither loss nor curvature")
    wanted = widths("--acts", acts, ternary=False)
    if 1 in wanted:
        raise typer.BadParameter("--acts 1 are signs, which need a training: give widths from 2")
    from flows.explore.sensitivity import sensitivity as measured
    from flows.progress import working

    chosen = widths("--bits", bits, ternary=True)
    with working("measuring layers"):
        result = measured(
            run, target, fps=fps, weight_widths=chosen, activation_widths=wanted, by=by, data=data  # type: ignore[arg-type]
        )  # fmt: skip
    if as_json:
        emit(result)
        return
    from flows.cli.render_exploring import sensitivities

    sensitivities(result)
