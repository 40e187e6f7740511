"""Commands that export a build for designs and programs of others: ``export-ip``, ``export-c``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from flows.cli.arguments import AsJson, emit


def export_ip(
    folder: Annotated[Path, typer.Argument(metavar="DIR/", help="a folder that `bitfabric build` left")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="IP/", help="folder of the core")],
    name: Annotated[str, typer.Option(help="name of the top module")] = "nn_core",
    prefix: Annotated[
        str | None, typer.Option(help="what the names of all other modules begin with (default: NAME_)")
    ] = None,
    registers: Annotated[
        Literal["axi-lite", "none"], typer.Option(help="registers: version, model, counters, errors, reset")
    ] = "axi-lite",
    inputs: Annotated[
        Path | None, typer.Option("--input", "-i", metavar="X.npy", help="frames of the testbench (default: random)")
    ] = None,
    frames: Annotated[int, typer.Option(min=1, help="number of frames of the testbench")] = 16,
    as_json: AsJson = False,
) -> None:
    """Export the accelerator of a build as an IP core with AXI4-Stream ports, for a design of your own.

    One SystemVerilog file, a document of its ports (README.md and JSON), a self-checking testbench with golden frames
    for Verilator and Icarus, cocotb tests, modules for LiteX and Amaranth, FuseSoC, IP-XACT, constraints, scripts for
    Vivado and Quartus, and a Zynq design with a driver for PYNQ.

    Example: bitfabric export-ip build/ -o ip/ --name digits
    """
    from flows.accelerator import Accelerator
    from flows.cli.render_results import exported
    from flows.exporting import export_ip as export

    files = export(Accelerator(folder), out, name, prefix, registers == "axi-lite", inputs, frames)
    result = {"folder": str(out), "files": [str(path) for path in files]}
    if as_json:
        emit(result)
    else:
        exported(out, files)


def export_c(
    folder: Annotated[Path, typer.Argument(metavar="DIR/", help="a folder that `bitfabric build` left")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="C/", help="folder of the source")],
    name: Annotated[str, typer.Option(help="name of the C function and of the files")] = "network",
    inputs: Annotated[
        Path | None, typer.Option("--input", "-i", metavar="X.npy", help="frames of the test (default: random)")
    ] = None,
    frames: Annotated[int, typer.Option(min=1, help="number of frames of the test")] = 16,
    as_json: AsJson = False,
) -> None:
    """Export the integers of a build as plain C99 and as NumPy arrays, for a processor or a check of your own.

    A C source and header with fixed-width integers, a test with golden frames (`make test`), weights and thresholds as
    .npz, and a file of a few NumPy functions that computes them. All give the integers of the hardware.

    Example: bitfabric export-c build/ -o c/ --name digits
    """
    from flows.accelerator import Accelerator
    from flows.cli.render_results import exported
    from flows.exporting import export_c as export

    files = export(Accelerator(folder), out, name, inputs, frames)
    if as_json:
        emit({"folder": str(out), "files": [str(path) for path in files]})
    else:
        exported(out, files)
