"""Exports of a finished build for designs and programs of others: an IP core, and plain C."""

import os
from importlib.metadata import version
from pathlib import Path

from flows.accelerator import Accelerator
from flows.samples import Samples
from flows.simulation import EdgeBatch, stream_names
from hw.host.errors import UsageError
from hw.ip_core import package, zynq
from hw.ip_core.core import IpCore
from hw.ir.frames import count as count_of
from hw.portable import package as portable

GOLDEN_FRAMES = 16
"""Frames of a testbench, unless a user asks for another number."""


def export_ip(
    accelerator: Accelerator,
    out: str | os.PathLike[str],
    name: str = "nn_core",
    prefix: str | None = None,
    registers: bool = True,
    frames: str | os.PathLike[str] | None = None,
    count: int = GOLDEN_FRAMES,
) -> list[Path]:
    """Write the accelerator of a build as an IP core into the folder ``out``; returns its files.

    ``name`` is the top module; the names of all others begin with ``prefix``, by default ``name`` and ``_``.
    ``registers``: with registers behind AXI4-Lite. The testbench has the first ``count`` frames of the file ``frames``,
    or random ones and some at the ends of the input's range, with the emulator's results.

    Raises UsageError for names that are no identifiers, frames that do not match, and a folder with files of others,
    and BitfabricError for a stream that AXI4-Stream cannot carry.
    """
    folder = Path(out)
    package.check_folder(folder)
    made, report = accelerator.implementation, accelerator.report
    model = made.model
    core = IpCore(
        name, f"{name}_" if prefix is None else prefix, made.hardware, made.rtl, int(model.sha256[:16], 16), registers
    )
    values = _golden(accelerator, frames, count)
    golden = {wire: values[edge] for edge, wire in stream_names(made.hardware, made.rtl).items()}
    cycles = report.cycles
    facts = package.BuildFacts(
        version("bitfabric"),
        {"path": Path(report.model.path).name, "sha256": model.sha256},
        report.device,
        report.clock_mhz,
        cycles.interval.simulated or cycles.interval.estimated,
        cycles.latency.simulated or cycles.latency.estimated,
    )
    return package.write(core, facts, golden, folder, made.interface_of("dma", {}) if zynq.fits(core) else None)


def export_c(
    accelerator: Accelerator,
    out: str | os.PathLike[str],
    name: str = "network",
    frames: str | os.PathLike[str] | None = None,
    count: int = GOLDEN_FRAMES,
) -> list[Path]:
    """Write the integers of a build as C99 and for NumPy into the folder ``out``; returns its files.

    ``name`` is that of the C function, and of the files. The test has the first ``count`` frames of the file
    ``frames``, or random ones and some at the ends of the input's range, with the emulator's results.

    Raises UsageError for a name that is no identifier, frames that do not match, and a folder with files of others,
    and BitfabricError for a layer that has no C code.
    """
    folder = Path(out)
    portable.check_folder(folder)
    graph, report = accelerator.graph, accelerator.report
    about = {"path": Path(report.model.path).name, "sha256": accelerator.model.sha256}
    return portable.write(name, graph, about, _golden(accelerator, frames, count), folder)


def _golden(accelerator: Accelerator, frames: str | os.PathLike[str] | None, count: int) -> EdgeBatch:
    """Integers of the first ``count`` frames, of every input and output by edge."""
    if count < 1:
        raise UsageError(f"--frames {count}: a test needs at least one frame")
    samples = Samples.open(accelerator.model, None if frames is None else Path(frames), None)
    if count > (there := count_of(samples.frames)) and count != GOLDEN_FRAMES:
        source = f"without --input there are {there} frames" if frames is None else f"{frames} holds {there}"
        raise UsageError(f"--frames {count}: {source}; ask for at most as many, or give others (--input X.npy)")
    integers = accelerator.graph.encode(samples.first(count))
    return integers | accelerator.graph.execute(integers)
