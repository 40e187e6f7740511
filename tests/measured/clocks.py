"""Clocks that place and route reached: of the kernels of every grid between two FIFOs, and of whole networks."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from hw.boards.targets import find_target
from hw.folding import choose
from hw.ir.graph import Graph
from hw.ir.kernel import Folding
from hw.lowering.lower import lower
from hw.passes.fifos import insert_fifos
from hw.passes.fold import apply_folding
from hw.passes.lanes import insert_width_converters
from hw.timing.fifo_sizing import size_fifos
from tests.measured import networks
from tests.measured.table import Table

FOLDER = Path(__file__).parent / "clocks"


class Case(NamedTuple):
    """A network on a target, folded for at most so many cycles a frame."""

    target: str
    network: str
    cycles: int


CASES = (
    Case("lfe5u-85f", "tfc-w1a1", 1000), Case("lfe5u-85f", "tfc-w1a1", 100), Case("lfe5u-85f", "tfc-w1a1", 8),
    Case("lfe5u-85f", "tfc-w2a2", 64), Case("lfe5u-85f", "sfc-w1a1", 512), Case("lfe5u-85f", "jsc-mlp-w3a3", 64),
    Case("lfe5u-85f", "jsc-mlp-w16a16", 64), Case("lfe5u-85f", "kws-mlp-w2a2", 4000),
    Case("ulx3s-85f", "tfc-w1a1", 100), Case("ulx3s-85f", "tfc-w2a2", 256), Case("ecpix5-45f", "tfc-w2a2", 256),
    Case("ulx3s-85f", "lenet5-w1a2", 5000), Case("lfe5u-85f", "resnet8-w4a4", 10_000),
    Case("lfe5u-85f", "vgg-small-w2a2", 20_000), Case("lfe5u-85f", "tfc-mnist-w1a1", 8),
    Case("lfe5u-85f", "lenet5-w8a8", 20_000),
    Case("icebreaker", "tfc-w1a1", 2000), Case("ice40up5k", "jsc-mlp-w3a3", 1000), Case("ice40up5k", "tfc-w2a2", 2000),
    Case("icebreaker", "tfc-w1a1", 500), Case("ice40up5k", "tfc-w1a1", 64), Case("ice40up5k", "tfc-w2a2", 500),
    Case("tangnano9k", "tfc-w1a1", 1000), Case("gw1nr-9c", "jsc-mlp-w3a3", 256), Case("gw1nr-9c", "tfc-w2a2", 1000),
    Case("tangnano9k", "tfc-w1a1", 100), Case("gw1nr-9c", "tfc-w1a1", 32), Case("gw1nr-9c", "tfc-w2a2", 128),
    Case("gw1nr-9c", "tfc-w2a2", 64), Case("ice40up5k", "tfc-w1a1", 24),
)  # fmt: skip


@dataclass
class Placed:
    """One placed design: its lookup tables and its Fmax in MHz; ``folding`` as ``layer:PExSIMDxM``."""

    target: str
    case: str
    folding: str
    lut: int
    fmax: float
    path: str


@dataclass
class Pipeline:
    """A placed network that is one kernel, of ``lut`` lookup tables as estimated for the hardware that was placed;
    ``variant``: that of its largest part. Networks of this size are placed by other scripts (``source``)."""

    target: str
    case: str
    variant: str
    lut: int
    fmax: float
    source: str


def pipelines() -> Table[Pipeline]:
    """Networks that are one kernel, larger than the kernels of any grid."""
    return Table(FOLDER / "pipelines.csv", Pipeline)


def kernels(renew: bool = False) -> Table[Placed]:
    """Kernels of every grid, each between two FIFOs, on their family's reference device."""
    return Table(FOLDER / "kernels.csv", Placed, renew)


def whole_networks(renew: bool = False) -> Table[Placed]:
    """The networks of CASES."""
    return Table(FOLDER / "networks.csv", Placed, renew)


def folded(case: Case, kept: Placed | None, folder: Path) -> tuple[Graph, str]:
    """The hardware of a network, folded as it was when it was placed, and that folding."""
    target = find_target(case.target)
    path = folder / f"{case.network}.onnx"
    graph = lower(path if path.exists() else networks.make(case.network, folder))
    if kept is None:
        table = choose.for_cycles(graph, case.cycles, target.device.family, target.device.capacity)
    else:
        parts = (part.split(":") for part in kept.folding.split())
        table = {name: _folding(sizes) for name, sizes in parts}
    text = " ".join(f"{name}:{f.pe}x{f.simd}x{f.pixels}" for name, f in table.items())
    connected = insert_width_converters(apply_folding(graph, table))
    return insert_fifos(connected, size_fifos(connected)), text


def _folding(sizes: str) -> Folding:
    """The folding that ``PExSIMDxPIXELS`` says."""
    pe, simd, pixels = map(int, sizes.split("x"))
    return Folding(pe, simd, pixels)
