"""Commands that build or estimate an accelerator: ``build``, ``estimate``, ``finn``, ``report``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from flows.cli.arguments import (
    AsJson,
    BenchmarkFrames,
    Clip,
    Clock,
    ExitShare,
    Fill,
    FoldingFile,
    ForceClock,
    Fps,
    InputType,
    MaxBram,
    MaxDsp,
    MaxFf,
    MaxLut,
    Model,
    Parity,
    Target,
    emit,
    limits,
)
from flows.config import STEPS, StepName


def build(
    model: Model,
    target: Target,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR/", help="folder of the build")],
    fps: Fps = None,
    folding: FoldingFile = None,
    fill: Fill = False,
    clock: Clock = None,
    force_clock: ForceClock = False,
    parity: Parity = False,
    benchmark_frames: BenchmarkFrames = 0,
    exit_share: ExitShare = 1.0,
    max_lut: MaxLut = None,
    max_ff: MaxFf = None,
    max_bram: MaxBram = None,
    max_dsp: MaxDsp = None,
    stop_after: Annotated[StepName, typer.Option(metavar="STEP", help="last step to do")] = STEPS[-1],
    frames: Annotated[
        Path | None, typer.Option("--input", metavar="X.npy", help="frames to check the engines on")
    ] = None,
    labels: Annotated[Path | None, typer.Option(metavar="Y.npy", help="their classes: prints accuracies")] = None,
    clip: Clip = False,
    input_type: InputType = None,
    rtl_frames: Annotated[
        int | None, typer.Option(help="frames that the RTL simulation checks (default: 4 to 512 by the design's size)")
    ] = None,
    netlist_frames: Annotated[
        int | None, typer.Option(help="frames that the placed netlist checks (default: 1 to 32 by the design's size)")
    ] = None,
    compare_finn: Annotated[
        bool, typer.Option("--compare-finn", help="run FINN's own estimate on the same model beside it")
    ] = False,
    power: Annotated[
        bool,
        typer.Option("--power", help="toggles of the netlist by layer; where known, estimated mW and uJ"),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Turn a QONNX model into a verified FPGA image.

    Example: bitfabric build run/model.onnx --target ulx3s-85f --fps 100000 -o build/
    """
    from flows.cli.render import built
    from flows.pipeline import build as run_build
    from flows.progress import Watch

    with Watch(out) as watch:
        accelerator = run_build(
            model, target=target, out=out, fps=fps, folding=folding, fill=fill, clock_mhz=clock,
            force_clock=force_clock, stop_after=stop_after, frames=frames, labels=labels, clip=clip,
            rtl_frames=rtl_frames, netlist_frames=netlist_frames, compare_finn=compare_finn, parity=parity, watch=watch,
            input_type=input_type, exit_share=exit_share, limits=limits(max_lut, max_ff, max_bram, max_dsp),
            power=power, benchmark_frames=benchmark_frames,
        )  # fmt: skip
    if as_json:
        emit(accelerator.report.to_json())
    else:
        built(accelerator)


def estimate(
    model: Model,
    target: Target,
    fps: Fps = None,
    folding: FoldingFile = None,
    fill: Fill = False,
    pareto: Annotated[
        bool, typer.Option("--pareto", help="every rate that is worth its cost: the foldings cheaper than all faster")
    ] = False,
    clock: Clock = None,
    parity: Parity = False,
    exit_share: ExitShare = 1.0,
    max_lut: MaxLut = None,
    max_ff: MaxFf = None,
    max_bram: MaxBram = None,
    max_dsp: MaxDsp = None,
    input_type: InputType = None,
    as_json: AsJson = False,
) -> None:
    """Cycles, latency and resources in seconds, without synthesis.

    Example: bitfabric estimate run/model.onnx --target ulx3s-85f --fps 1000000
    """
    from flows import estimates
    from flows.cli import render

    if pareto:
        bounds = limits(max_lut, max_ff, max_bram, max_dsp)
        if fps is not None or folding is not None or fill or parity or bounds or exit_share != 1:
            raise typer.BadParameter(
                "--pareto shows all rates and sizes; leave --fps, --folding, --fill, --parity, --exit-share and "
                "--max-... out"
            )
        result = estimates.pareto(model, target, clock, input_type)
        emit(result) if as_json else render.front(result)
        return
    result = estimates.estimate_build(
        model, target=target, fps=fps, folding=folding, fill=fill, clock_mhz=clock, parity=parity,
        exit_share=exit_share, limits=limits(max_lut, max_ff, max_bram, max_dsp), input_type=input_type,
    )  # fmt: skip
    emit(result) if as_json else render.estimated(result)


def finn(
    model: Model,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR/", help="folder of FINN's build")],
    board: Annotated[str | None, typer.Option(help="FINN's name of a board, as Pynq-Z2")] = None,
    part: Annotated[str | None, typer.Option(help="an AMD part instead, as xc7z020clg400-1")] = None,
    fps: Fps = None,
    folding: FoldingFile = None,
    clock: Clock = None,
    front_end: Annotated[
        Literal["bitfabric", "finn"], typer.Option(help="our exact graph, or FINN's own streamlining")
    ] = "bitfabric",
    config: Annotated[
        Path | None, typer.Option(metavar="BUILD.yaml", help="FINN's configuration (YAML or JSON): passed through")
    ] = None,
    frames: Annotated[Path | None, typer.Option("--input", metavar="X.npy", help="frames to verify on")] = None,
    fifo_sizes: Annotated[
        Literal["finn", "ours"], typer.Option(help="FIFO depths: FINN's simulation (Vivado), or of our timing")
    ] = "finn",
    input_type: InputType = None,
    as_json: AsJson = False,
) -> None:
    """FINN's own flow for AMD devices: estimates and HLS/RTL code everywhere, the rest where Vivado is.

    Example: bitfabric finn run/model.onnx --board Pynq-Z2 --fps 100000 -o finn/
    """
    from flows.cli.render import finn_built
    from flows.finn import flow

    result = flow(
        model, out, board=board, part=part, fps=fps, folding=folding, clock_mhz=clock, front_end=front_end,
        config=config, frames=frames, fifo_sizes=fifo_sizes, input_type=input_type,
    )  # fmt: skip
    if as_json:
        emit(result)
    else:
        finn_built(result, out)


def report(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR/ ...",
            help="a folder that `bitfabric build` or `bitfabric explore` left; several builds are compared",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="F.html", help="the file (default: DIR/report.html; of several: compared.html)"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write one HTML page of a build: layers, timeline, limits, FIFOs, verification, critical path.

    Of several builds, write a page with a table and their rates against their logic. Of a study, one with its front,
    what was refused, what matters, and the commands that make each network again.

    Example: bitfabric report build/

    Several: bitfabric report small/ fast/ -o compared.html
    """
    from flows.progress import working
    from hw.host.text import one_line

    with working("reading the build and solving its timing"):
        if len(folders) > 1:
            from flows.report import compare

            path = compare(folders, out or Path("compared.html"))
        else:
            path = _page(folders[0], out)
    if as_json:
        emit({"report": str(path)})
    else:
        typer.echo(one_line(path))


def _page(folder: Path, out: Path | None = None) -> Path:
    from flows.accelerator import Accelerator
    from flows.explore.settings import SETTINGS

    if (folder / SETTINGS).is_file():
        from flows.explore.study import Study

        return Study(folder).write_report(out)

    return Accelerator(folder).write_report(out)


def open_report(
    folder: Annotated[Path, typer.Argument(metavar="DIR/", help="a folder that `bitfabric build` or `explore` left")],
) -> None:
    """Write the report of a build or a study and show it in a browser.

    Example: bitfabric open build/
    """
    import webbrowser

    from flows.progress import working
    from hw.host.errors import BitfabricError
    from hw.host.text import one_line

    with working("reading the build and solving its timing"):
        path = _page(folder).resolve()
    typer.echo(one_line(path))
    if not webbrowser.open(path.as_uri()):
        raise BitfabricError(f"no browser starts here: open {path} in one")
