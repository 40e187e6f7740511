"""The command ``bitfabric compress``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli.arguments import AsJson, Fps, emit, pairs, rates, target_names
from flows.cli.interrupts import resumable
from quant.training.methods import METHODS


def _list_methods(show: bool) -> None:
    if show:
        from flows.cli.render_training import methods

        methods()
        raise typer.Exit


def compress(
    run: Annotated[Path, typer.Argument(metavar="RUN/", help="a folder that `bitfabric train` or `compress` left")],
    method: Annotated[
        str, typer.Option("--method", "-m", metavar="NAME", help=f"{', '.join(METHODS)}; --list explains them")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="RUN2/", help="folder of the compressed run")],
    density: Annotated[
        float | None, typer.Option(help="share of each layer's weights (merge: neurons, slim: channels) that is left")
    ] = None,
    fraction: Annotated[float | None, typer.Option(help="the share that becomes 0 instead")] = None,
    structure: Annotated[
        str | None,
        typer.Option(
            metavar="STRUCTURE",
            help="weights that become zero together: 2:4, bank-balanced:PExSIMD, blocks:PExSIMD or columns (default: "
            "single weights); of tie, weights that become one value: circulant:B, hashed:C, ... (default: circulant:8)",
        ),
    ] = None,
    criterion: Annotated[
        str | None, typer.Option(help="slim: which channels go: l1, slimming, structured, less-is-more, ... (--list)")
    ] = None,
    by: Annotated[
        str | None, typer.Option(help="prune, obd, slim: what is saved on --target: lut, cycles or rom_bits")
    ] = None,
    layers: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="layers to compress, as 'hidden.*' (default: all)")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="an option of the method, as clusters=8")
    ] = None,
    epochs: Annotated[int, typer.Option(min=0, help="of the training that follows; 0: none")] = 20,
    learning_rate: Annotated[
        str | None, typer.Option(metavar="FIRST[:LAST]", help="of it (default: a tenth of the run's)")
    ] = None,
    data: Annotated[str | None, typer.Option(help="place of the run's data, where it is another now")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on from where an interrupted run in RUN2/ was")] = False,
    target: Annotated[
        str | None,
        typer.Option(
            "--target", "-t", help="board or device: prints the estimated hardware before and after",
            autocompletion=target_names,
        ),
    ] = None,
    fps: Fps = None,
    _: Annotated[bool, typer.Option("--list", callback=_list_methods, is_eager=True, help="list the methods")] = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Compress a trained network by one method, train it further, and export it.

    With --by, prune, obd and slim rank by what a weight, or a channel, saves on the target.

    Example: bitfabric compress run/ --method prune --density 0.25 --target ulx3s-85f --fps 1000000 -o small/
    """
    from quant import compress_run

    if fps is not None and target is None:
        raise typer.BadParameter("--fps is the rate of the estimates: give --target too")
    options = pairs("--option", option or [])
    for name, value in (("structure", structure), ("criterion", criterion), ("by", by)):
        if value is not None:
            options[name] = value
    cost = None
    if target is not None:
        from flows.cost import cost_on

        if (run / "metrics.json").is_file() and not (run / "model.onnx").is_file():
            raise typer.BadParameter(f"--target is for quantized networks, and {run} has one in floating point")
        cost = cost_on(target, fps)
        if options.get("by") == "cycles":  # at a rate a layer has the cycles of the rate, with zeros or without
            cost = cost_on(target)
    with resumable(out, resume):
        result = compress_run(
            run, out, method,
            density=density, fraction=fraction, options=options, layers=layers, epochs=epochs,
            learning_rate=None if learning_rate is None else rates(learning_rate),
            data=data, cost=cost, progress=not as_json, resume=resume,
        )  # fmt: skip
    if result.pop("rank"):
        return  # one of several processes of this training; the first one reports
    estimates = [] if target is None else _estimates(run, out, target, fps)
    if as_json:
        emit(result | ({"estimated": dict(zip(("before", "after"), estimates, strict=True))} if estimates else {}))
        return
    from flows.cli.render_training import compressed

    compressed(result, out, estimates)


def _estimates(run: Path, out: Path, target: str, fps: float | None) -> list[dict[str, Any]]:
    """The estimates of the network before and after; ``error`` alone of one that the target cannot have: that is why
    networks are compressed, and the compressed run is complete."""
    from flows.estimates import estimate_build
    from flows.progress import working
    from hw.host.errors import BitfabricError

    found: list[dict[str, Any]] = []
    with working("estimating both networks"):
        for folder in (run, out):
            try:
                found.append(estimate_build(folder / "model.onnx", target=target, fps=fps))
            except BitfabricError as error:
                found.append({"error": str(error)})
    return found
