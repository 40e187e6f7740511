"""The command line. Heavy imports happen inside the commands, so that ``--help`` answers at once."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from flows.config import STEPS, Step

ClickException: type[Exception] = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")
"""Base of usage errors: Typer carries a Click of its own in newer versions and uses the package in older ones."""

app = typer.Typer(
    name="bitfabric",
    help="Quantized and binarized networks from PyTorch to a verified FPGA bitstream.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Engine = Literal["qonnx", "finn", "emulator", "rtl", "netlist", "board"]

Model = Annotated[
    Path,
    typer.Argument(metavar="MODEL.onnx", help="a QONNX file, or FINN's dataflow graph"),
]


def _target_names(begun: str) -> list[str]:
    """For shell completion."""
    from hw.boards.targets import targets

    return [target.name for target in targets() if target.name.startswith(begun)]


Target = Annotated[
    str,
    typer.Option(
        "--target", "-t", help="a board or a device; `bitfabric targets` lists them", autocompletion=_target_names
    ),
]
Fps = Annotated[float | None, typer.Option(help="frames per second to reach, with the cheapest folding that does")]
Clock = Annotated[float | None, typer.Option("--clock", metavar="MHZ", help="clock of the accelerator")]
FoldingFile = Annotated[Path | None, typer.Option("--folding", metavar="F.json", help="a folding in FINN's JSON form")]
Fill = Annotated[
    bool,
    typer.Option(
        "--fill",
        help="as fast as the device allows: the fastest folding that is estimated to take at most 80 % of its LUT and "
        "FF and 90 % of its BRAM and DSP; the rest is for routing, the board's shell and errors of the estimate",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="print results as JSON, nothing else")]

INTERRUPTED = 130
_LIGHTNING = "Devices (Lightning's own options)"


def emit(content: dict[str, Any]) -> None:
    """Print a result as JSON."""
    typer.echo(json.dumps(content, indent=2))


def _list_networks(show: bool) -> None:
    if show:
        from flows.show import networks

        networks()
        raise typer.Exit


def _pairs(option: str, values: list[str]) -> dict[str, Any]:
    """``NAME=VALUE`` options; a value is JSON, or else a string."""
    found: dict[str, Any] = {}
    for pair in values:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{option} {pair!r} is no NAME=VALUE, as in {option} act_bits=2")
        try:
            found[name] = json.loads(value)
        except json.JSONDecodeError:
            found[name] = value
    return found


@app.command()
def train(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="a reference network, for example tfc-w1a1; --list shows all")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="RUN/", help="folder for model.onnx, metrics.json, test frames")
    ],
    scheme: Annotated[
        str | None, typer.Option(help="quantization scheme instead of the one that the model's name implies")
    ] = None,
    data: Annotated[
        str, typer.Option(help="data set by name (digits is bundled), or a folder or .npz of your own")
    ] = "digits",
    epochs: Annotated[int, typer.Option(min=1, help="passes over the training set")] = 100,
    seed: Annotated[int, typer.Option(help="seed of the split, the weights and the order")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="go on from where an interrupted run in RUN/ was")] = False,
    scheme_option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="a parameter of the scheme, as act_bits=2")
    ] = None,
    model_option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="an option of the network, as width=0.5")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=2, help="samples a step (default: 100)")] = None,
    learning_rate: Annotated[
        tuple[float, float] | None, typer.Option(metavar="FIRST LAST", help="instead of the scheme's rates")
    ] = None,
    loss: Annotated[
        Literal["cross_entropy", "squared_hinge"] | None, typer.Option(help="instead of the scheme's loss")
    ] = None,
    validation: Annotated[
        float | None, typer.Option(help="share of the training set on which the best epoch is chosen (default: 0)")
    ] = None,
    patience: Annotated[
        int | None, typer.Option(min=1, help="end after so many epochs without a better one; needs --validation")
    ] = None,
    augment: Annotated[
        Literal["shift", "flip-crop"] | None, typer.Option(help="change training images at random")
    ] = None,
    teacher: Annotated[
        Path | None, typer.Option(metavar="RUN/", help="run of a network to learn from (knowledge distillation)")
    ] = None,
    temperature: Annotated[float | None, typer.Option(help="of the teacher's outputs (default: 4)")] = None,
    accelerator: Annotated[
        str | None, typer.Option(help="cpu, gpu, ... (default: a GPU if there is one)", rich_help_panel=_LIGHTNING)
    ] = None,
    devices: Annotated[
        str | None, typer.Option(help="how many, auto, or which (0,2) (default: 1)", rich_help_panel=_LIGHTNING)
    ] = None,
    strategy: Annotated[str | None, typer.Option(help="as ddp or fsdp", rich_help_panel=_LIGHTNING)] = None,
    num_nodes: Annotated[int | None, typer.Option(min=1, help="machines", rich_help_panel=_LIGHTNING)] = None,
    _: Annotated[
        bool, typer.Option("--list", callback=_list_networks, is_eager=True, help="list networks and schemes")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train a quantized network and export it as QONNX.

    Example: bitfabric train tfc-w1a1 --data digits -o run/

    With a float teacher: bitfabric train tfc-float -o teacher/ and bitfabric train tfc-w1a1 --teacher teacher/ -o run/
    """
    lightning = {
        "accelerator": accelerator,
        "devices": int(devices) if devices and devices.isdecimal() else devices,
        "strategy": strategy,
        "num_nodes": num_nodes,
    }
    settings = {
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "loss": loss,
        "validation": validation,
        "patience": patience,
        "augment": augment,
        "temperature": temperature,
        "trainer": {name: value for name, value in lightning.items() if value is not None} or None,
    }
    scheme_options = _pairs("--scheme-option", scheme_option or [])
    model_options = _pairs("--model-option", model_option or [])
    from quant.train import train_run

    result = train_run(
        model, scheme=scheme, data=data, epochs=epochs, seed=seed, out=out, progress=not as_json,
        model_options=model_options, scheme_options=scheme_options, teacher=teacher, resume=resume,
        fit_options={name: value for name, value in settings.items() if value is not None},
    )  # fmt: skip
    if result.pop("rank"):
        return  # one of several processes of this training; the first one reports
    if as_json:
        emit(result)
        return
    from flows.show import trained

    trained(result, out)


@app.command()
def build(
    model: Model,
    target: Target,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR/", help="folder of the build")],
    fps: Fps = None,
    folding: FoldingFile = None,
    fill: Fill = False,
    clock: Clock = None,
    stop_after: Annotated[Step, typer.Option(help="last step to do")] = STEPS[-1],
    frames: Annotated[
        Path | None, typer.Option("--input", metavar="X.npy", help="frames to check the engines on")
    ] = None,
    labels: Annotated[Path | None, typer.Option(metavar="Y.npy", help="their classes: prints accuracies")] = None,
    rtl_frames: Annotated[
        int | None, typer.Option(help="frames that the RTL simulation checks (default: 4 to 512 by the design's size)")
    ] = None,
    netlist_frames: Annotated[
        int | None, typer.Option(help="frames that the placed netlist checks (default: 1 to 32 by the design's size)")
    ] = None,
    compare_finn: Annotated[bool, typer.Option(help="run FINN's own estimate on the same model beside it")] = False,
    as_json: AsJson = False,
) -> None:
    """Turn a QONNX model into a verified FPGA image.

    Example: bitfabric build run/model.onnx --target ulx3s-85f --fps 100000 -o build/
    """
    from flows.build import build as run_build
    from flows.show import Watch, built

    with Watch() as watch:
        accelerator = run_build(
            model, target=target, out=out, fps=fps, folding=folding, fill=fill, clock_mhz=clock,
            stop_after=stop_after, frames=frames, labels=labels, rtl_frames=rtl_frames, netlist_frames=netlist_frames,
            compare_finn=compare_finn, watch=watch,
        )  # fmt: skip
    if as_json:
        emit(accelerator.report)
    else:
        built(accelerator)


@app.command()
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
    as_json: AsJson = False,
) -> None:
    """Cycles, latency and resources in seconds, without synthesis.

    Example: bitfabric estimate run/model.onnx --target ulx3s-85f --fps 1000000
    """
    from flows import plan, show

    if pareto:
        if fps is not None or folding is not None or fill:
            raise typer.BadParameter("--pareto shows all rates; leave --fps, --folding and --fill out")
        result = plan.pareto(model, target, clock)
        emit(result) if as_json else show.front(result)
        return
    result = plan.estimate(model, target=target, fps=fps, folding=folding, fill=fill, clock_mhz=clock)
    emit(result) if as_json else show.estimated(result)


@app.command()
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
    as_json: AsJson = False,
) -> None:
    """FINN's own flow for AMD devices: estimates and HLS/RTL code everywhere, the rest where Vivado is.

    Example: bitfabric finn run/model.onnx --board Pynq-Z2 --fps 100000 -o finn/
    """
    from flows.finn import flow
    from flows.show import finn_built

    result = flow(
        model, out, board=board, part=part, fps=fps, folding=folding, clock_mhz=clock, front_end=front_end,
        config=config, frames=frames, fifo_sizes=fifo_sizes,
    )  # fmt: skip
    if as_json:
        emit(result)
    else:
        finn_built(result, out)


@app.command()
def run(
    folder: Annotated[Path, typer.Argument(metavar="DIR/", help="a folder that `bitfabric build` left")],
    frames: Annotated[Path, typer.Option("--input", "-i", metavar="X.npy", help="frames in the model's own layout")],
    engine: Annotated[Engine, typer.Option(help="what computes")] = "emulator",
    labels: Annotated[
        Path | None, typer.Option(metavar="Y.npy", help="classes of the frames: prints the accuracy")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="OUT.npy", help="file for the outputs")] = None,
    port: Annotated[str | None, typer.Option(help="serial port of the board (default: look for it)")] = None,
    baud: Annotated[int | None, typer.Option(help="baud rate of the board's port (default: the image's)")] = None,
    trace: Annotated[
        Path | None, typer.Option(metavar="F.vcd", help="waveform of the RTL, for GTKWave or Surfer (all frames!)")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run frames through one engine; all engines take and give the same.

    Example: bitfabric run build/ --input run/x_test.npy --labels run/y_test.npy --engine rtl

    On hardware: bitfabric program build/ and bitfabric run build/ --input run/x_test.npy --engine board

    Waveform: bitfabric run build/ --input few.npy --engine rtl --trace build/waves.vcd
    """
    from flows.accelerator import Accelerator, load_frames, load_labels, save_frames, score, timed
    from flows.show import Progress, ran

    accelerator = Accelerator(folder)
    x = load_frames(frames)
    y = load_labels(labels, len(x)) if labels else None
    counters: dict[str, int] = {}
    if engine == "board":
        if trace:
            raise typer.BadParameter("a board has no waveform to write with --trace; use --engine rtl")
        with Progress() as progress:
            outputs, seconds = timed(lambda: accelerator.run_board(x, port, baud, progress, counters))
    elif port or baud:
        raise typer.BadParameter(f"--port and --baud are for --engine board, not {engine}")
    else:
        outputs, seconds = timed(lambda: accelerator.run(x, engine, trace))
    result: dict[str, Any] = {"engine": engine, "frames": len(x), "seconds": seconds}
    if counters:
        result["board"] = counters
    if y is not None:
        result["accuracy"] = score(outputs, y)
    if out:
        save_frames(out, outputs)
        result["output"] = str(out)
    if trace:
        result["trace"] = str(trace)
    if as_json:
        emit(result)
    else:
        ran(result, outputs)


@app.command()
def program(
    folder: Annotated[Path, typer.Argument(metavar="DIR/", help="a folder that `bitfabric build` left")],
    flash: Annotated[bool, typer.Option("--flash", help="into the flash, so that it is there after power-up")] = False,
) -> None:
    """Load the image of a build into its board, with openFPGALoader.

    Example: bitfabric program build/
    """
    from flows.program import program as load_image

    typer.echo(load_image(folder, flash))


@app.command()
def virtual(
    folder: Annotated[Path, typer.Argument(metavar="DIR/", help="a folder that `bitfabric build` left for a board")],
) -> None:
    """Simulate the image of a build behind a pseudo-terminal, as a board without hardware, until interrupted.

    Example: bitfabric virtual build/   and elsewhere   bitfabric run build/ --input X.npy --engine board --port PORT
    """
    from flows.accelerator import Accelerator
    from hw.boards.pty_board import PtyBoard
    from hw.boards.virtual import VirtualBoard

    with VirtualBoard(Accelerator(folder).image) as board, PtyBoard(board) as terminal:
        typer.echo(terminal.port)
        signal.pause()


@app.command()
def soft_errors(
    folder: Annotated[Path, typer.Argument(metavar="DIR/", help="a folder that `bitfabric build` left")],
    frames: Annotated[Path, typer.Option("--input", "-i", metavar="X.npy", help="frames in the model's own layout")],
    labels: Annotated[Path | None, typer.Option(metavar="Y.npy", help="their classes: accuracies too")] = None,
    flips: Annotated[str, typer.Option(help="numbers of bits to flip, with commas")] = "1,10,100",
    trials: Annotated[int, typer.Option(min=1, help="places that are tried for each number")] = 10,
    seed: Annotated[int, typer.Option(help="seed of the places")] = 0,
    as_json: AsJson = False,
) -> None:
    """Flip bits of the weight and threshold memories in the emulator: accuracy against soft errors.

    Example: bitfabric soft-errors build/ --input run/x_test.npy --labels run/y_test.npy --flips 1,10,100
    """
    from flows.accelerator import Accelerator, load_frames, load_labels
    from flows.show import Progress, flipped
    from flows.soft_errors import sweep

    if not all(part.strip().isdecimal() for part in flips.split(",")):
        raise typer.BadParameter(f"--flips {flips!r} is no list of numbers, as in --flips 1,10,100")
    x = load_frames(frames)
    y = load_labels(labels, len(x)) if labels else None
    with Progress() as progress:
        result = sweep(Accelerator(folder), x, y, [int(part) for part in flips.split(",")], trials, seed, progress)
    if as_json:
        emit(result)
    else:
        flipped(result)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR/", help="a folder that `bitfabric build` left")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="F.html", help="the file (default: DIR/report.html)")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write one HTML page of a build: layers, timeline, limits, FIFOs, verification, critical path.

    Example: bitfabric report build/
    """
    from flows.show import working

    with working("reading the build and solving its timing"):
        from flows.accelerator import Accelerator
        from flows.report import write

        path = write(Accelerator(folder), out)
    if as_json:
        emit({"report": str(path)})
    else:
        typer.echo(path)


@app.command()
def targets(as_json: AsJson = False) -> None:
    """List the boards and devices with their resources.

    Example: bitfabric targets
    """

    from hw.boards.targets import targets as known

    rows = [
        {
            "name": target.name,
            "device": target.device.name,
            **vars(target.device.capacity),
            "ends_with": "bitstream" if target.board else "placed netlist" if target.device.routable else "synthesis",
        }
        for target in known()
    ]
    if as_json:
        emit({"targets": rows})
        return
    from flows.show import target_table

    target_table(rows)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Tell what this machine can do, and how to get the rest. Exit status 1 if something needed is missing.

    Example: bitfabric doctor
    """
    from flows.doctor import examine
    from flows.show import diagnosis

    findings = examine()
    if as_json:
        emit({"findings": findings})
    else:
        diagnosis(findings)
    if any(f["needed"] and not f["found"] for f in findings):
        raise typer.Exit(1)


def version(show: bool) -> None:
    if show:
        from importlib.metadata import version as installed

        typer.echo(f"bitfabric {installed('bitfabric')}")
        raise typer.Exit


@app.callback()
def options(
    _: Annotated[bool, typer.Option("--version", callback=version, is_eager=True, help="print the version")] = False,
) -> None:
    pass


def main() -> None:
    """Entry point: errors in one line, exit status 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    # A polite kill leaves as an interrupt does: tools are ended, nothing half-written stays.
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        # Usage errors come out of standalone mode as exceptions, so that they end in one line as all others do.
        status = app(standalone_mode=False)
        if status == INTERRUPTED:  # as Typer puts an interrupt, in newer versions
            raise KeyboardInterrupt
    except ClickException as error:
        if not (message := _words(error)):
            sys.exit(2)  # A command without arguments: its help stands there already.
        fail(f"{message}; see --help", 2)
    except (typer.Abort, KeyboardInterrupt):
        again = {"train": "; the same command with --resume goes on from the last checkpoint",
                 "build": "; the same command goes on from the finished steps"}  # fmt: skip
        fail(f"interrupted{again.get(next(iter(sys.argv[1:]), ''), '')}", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        known = getattr(error, "status", None)
        if not isinstance(known, int):
            raise
        fail(str(error), known)
    sys.exit(status if isinstance(status, int) else 0)


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def _words(error: Exception) -> str:
    """A usage error as Click words it."""
    return str(getattr(error, "format_message", error.__str__)()).rstrip(".")


def fail(message: str, status: int) -> None:
    """Print the one line and leave."""
    from rich.console import Console

    line = " ".join(message.split())
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"[bold red]error:[/] {_escape(line)}")
    sys.exit(status)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)
