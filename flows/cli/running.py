"""Commands that run a build: ``run``, ``program``, ``virtual``, ``soft-errors``."""

import signal
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli.arguments import AsJson, Clip, emit
from flows.engines import EngineName


def run(
    folder: Annotated[Path, typer.Argument(metavar="DIR/", help="a folder that `bitfabric build` left")],
    frames: Annotated[
        Path,
        typer.Option(
            "--input",
            "-i",
            metavar="X.npy",
            help="frames in the model's own layout, or a table (.csv); of several inputs in a .npz file",
        ),
    ],
    engine: Annotated[EngineName, typer.Option(help="what computes")] = "emulator",
    labels: Annotated[
        Path | None, typer.Option(metavar="Y.npy", help="classes of the frames: prints the accuracy")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="OUT.npy", help="file for the outputs")] = None,
    port: Annotated[str | None, typer.Option(help="port of the board's link (default: look for it)")] = None,
    baud: Annotated[int | None, typer.Option(help="rate of the board's link (default: the image's)")] = None,
    benchmark: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="of a board: N frames at full rate inside the image, of those that its block RAM holds"
        ),
    ] = None,
    trace: Annotated[
        Path | None, typer.Option(metavar="F.vcd", help="waveform of the RTL, for GTKWave or Surfer (all frames!)")
    ] = None,
    clip: Clip = False,
    as_json: AsJson = False,
) -> None:
    """Run frames through one engine; all engines take and give the same. --json holds the outputs and the classes.

    Example: bitfabric run build/ --input run/x_test.npy --labels run/y_test.npy --engine rtl

    On hardware: bitfabric program build/ and bitfabric run build/ --input run/x_test.npy --engine board

    Rate and checksum of millions of frames: bitfabric run build/ --input run/x_test.npy --engine board --benchmark
    10000000

    Waveform: bitfabric run build/ --input few.npy --engine rtl --trace build/waves.vcd
    """
    from flows.accelerator import Accelerator
    from flows.cli.render_results import ran, replayed
    from flows.facts.checks import Inputs
    from flows.frames import load_labels, predictions, save_frames, timed
    from flows.progress import Progress
    from hw.host.tables import load_batch
    from hw.ir.frames import count

    accelerator = Accelerator(folder)
    meaning = accelerator.report.model.meaning
    x = load_batch(frames, {port.name: port.shape for port in accelerator.graph.inputs}, meaning.feature_names)
    inputs: list[Inputs] = []
    told: dict[str, Any] = {"clip": clip, "on_inputs": inputs.append}
    if benchmark is not None:
        if engine != "board" or trace or labels or out:
            raise typer.BadParameter("--benchmark goes with --engine board, without --trace, --labels and --out")
        with Progress() as progress:
            found = accelerator.benchmark(x, benchmark, port=port, baud=baud, progress=progress, **told)
        link = accelerator.report.host_link
        facts = vars(found) | {"fps": found.fps, "host_link_fps": link.fps if link else None}
        emit(facts) if as_json else replayed(facts)
        return
    y = load_labels(labels, count(x), meaning.task) if labels else None
    counters: dict[str, int] = {}
    if engine == "board":
        if trace:
            raise typer.BadParameter("a board has no waveform to write with --trace; use --engine rtl")
        with Progress() as progress:
            outputs, seconds = timed(
                lambda: accelerator.run(x, engine, port=port, baud=baud, progress=progress, counters=counters, **told)
            )
    elif port or baud:
        raise typer.BadParameter(f"--port and --baud are for --engine board, not {engine}")
    else:
        outputs, seconds = timed(lambda: accelerator.run(x, engine, trace, **told))
    result: dict[str, Any] = {"engine": engine, "frames": count(x), "seconds": seconds}
    result["inputs"] = inputs[0].to_json()
    if len(inputs) > 1:
        result["other_inputs"] = [each.to_json() for each in inputs[1:]]
    if counters:
        result["board"] = counters
    result |= predictions(outputs, y, x, meaning)
    if out:
        save_frames(out, outputs)
        result["output"] = str(out)
    if trace:
        result["trace"] = str(trace)
    if as_json:
        named = outputs if isinstance(outputs, dict) else {accelerator.graph.outputs[0].name: outputs}
        emit(result if out else result | {"outputs": {name: values.tolist() for name, values in named.items()}})
    else:
        ran(result, outputs)


def program(
    folder: Annotated[Path, typer.Argument(metavar="DIR/", help="a folder that `bitfabric build` left")],
    flash: Annotated[bool, typer.Option("--flash", help="into the flash, so that it is there after power-up")] = False,
) -> None:
    """Load the image of a build into its board, with openFPGALoader.

    Example: bitfabric program build/
    """
    from flows.accelerator import Accelerator
    from hw.host.text import printable

    # The programmer draws progress bars with carriage returns.
    typer.echo(printable(Accelerator(folder).program(flash).replace("\r", "\n")))


def virtual(
    folder: Annotated[Path, typer.Argument(metavar="DIR/", help="a folder that `bitfabric build` left for a board")],
) -> None:
    """Simulate the image of a build behind a pseudo-terminal, or behind an address of this computer where its link is
    Ethernet, as a board without hardware, until interrupted.

    Prints the port, and the command for another terminal.

    Example: bitfabric virtual build/
    """
    from flows.accelerator import Accelerator
    from hw.boards.udp_board import reachable
    from hw.boards.virtual import VirtualBoard
    from hw.host.text import one_line

    with VirtualBoard(Accelerator(folder).image) as board, reachable(board) as end:
        typer.echo(end.port)
        typer.echo("The image is simulated at this port until Ctrl-C. In another terminal:")
        typer.echo(f"  bitfabric run {one_line(folder)} --input X.npy --engine board --port {end.port}")
        with suppress(KeyboardInterrupt):
            signal.pause()


def soft_errors(
    folder: Annotated[Path, typer.Argument(metavar="DIR/", help="a folder that `bitfabric build` left")],
    frames: Annotated[Path, typer.Option("--input", "-i", metavar="X.npy", help="frames in the model's own layout")],
    labels: Annotated[Path | None, typer.Option(metavar="Y.npy", help="their classes: accuracies too")] = None,
    flips: Annotated[str, typer.Option(help="numbers of bits to flip, with commas")] = "1,10,100",
    trials: Annotated[int, typer.Option(min=1, help="places that are tried for each number")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="seed of the places")] = 0,
    clip: Clip = False,
    as_json: AsJson = False,
) -> None:
    """Flip bits of the memories (weights, thresholds, requants) in the emulator: accuracy against soft errors.

    Example: bitfabric soft-errors build/ --input run/x_test.npy --labels run/y_test.npy --flips 1,10,100
    """
    from flows.accelerator import Accelerator
    from flows.cli.render_results import flipped
    from flows.facts.checks import Inputs
    from flows.frames import load_labels
    from flows.progress import Progress
    from flows.soft_errors import sweep
    from hw.host.arrays import load_array

    if not all(part.strip().isdecimal() for part in flips.split(",")):
        raise typer.BadParameter(f"--flips {flips!r} is no list of numbers, as in --flips 1,10,100")
    x = load_array(frames)
    y = load_labels(labels, len(x)) if labels else None
    inputs: list[Inputs] = []
    counts = [int(part) for part in flips.split(",")]
    with Progress() as progress:
        result = sweep(Accelerator(folder), x, y, counts, trials, seed, progress, clip, inputs.append)
    result["inputs"] = inputs[0].to_json()
    if as_json:
        emit(result)
    else:
        flipped(result)
