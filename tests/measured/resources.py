"""Resources that synthesis counted: of the kernels of every grid, and of whole networks."""

from dataclasses import dataclass
from pathlib import Path

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.families import find_device
from hw.families.ecp5 import ECP5
from hw.folding import choose, finn_json
from hw.ir.graph import Graph
from hw.ir.kernel import Kernel
from hw.kernels.constant_matrix.adders import FAST_SHORT
from hw.kernels.constant_matrix.kernel import ConstantMatrix
from hw.kernels.constant_matrix.pipeline import Pipeline
from hw.kernels.constant_network.kernel import ConstantNetwork
from hw.lowering.lower import lower
from hw.passes.fifos import insert_fifos
from hw.passes.fold import apply_folding
from hw.passes.lanes import insert_width_converters
from hw.timing.fifo_sizing import size_fifos
from tests.measured import networks
from tests.measured.table import Table

FOLDER = Path(__file__).parent / "resources"


@dataclass
class Measured:
    """One synthesised design."""

    family: str
    case: str
    lut: int
    ff: int
    bram: int
    dsp: int

    @property
    def resources(self) -> Resources:
        return Resources(self.lut, self.ff, self.bram, self.dsp)


def kernels(renew: bool = False) -> Table[Measured]:
    """Kernels of every grid, each beside ``hw.kernels.calibration.COMPANION``, less the companion."""
    return Table(FOLDER / "kernels.csv", Measured, renew)


def synthesised(kernel: Kernel, family: Family) -> Resources:
    """Resources of a kernel as estimated, without the lookup tables that place and route adds."""
    used = kernel.resources(family)
    if isinstance(kernel, ConstantNetwork):
        pipelines = [step.read for step in kernel.steps if isinstance(step.read, Pipeline)]
        fed = sum(kernel.pixels * each.plan.feeds(family, FAST_SHORT, not each.raw) for each in pipelines)
    elif isinstance(kernel, ConstantMatrix):
        fed = kernel.pixels * kernel.plan.feeds(family, FAST_SHORT)
    else:
        return used
    return used - Resources(fed)


def whole_networks(renew: bool = False) -> Table[Measured]:
    """Networks of ``tests.measured.networks``."""
    return Table(FOLDER / "networks.csv", Measured, renew)


def hardware(name: str, folder: Path, keep: bool = False) -> Graph:
    """A network of ``tests.measured.networks`` with its FIFOs, folded as the model of that time chose for its cycles.

    The folding is kept in ``resources/NAME.json``: whatever becomes of the model, the hardware that it is held against
    is the one that was synthesised. Where none is kept, the model chooses it now, and ``keep`` says to keep that.
    """
    graph, kept = lower(networks.make(name, folder)), FOLDER / f"{name}.json"
    if kept.exists():
        table = finn_json.read(kept, graph).table
    else:
        capacity = find_device("lfe5u-85f").capacity
        table = choose.for_cycles(graph, networks.NETWORKS[name].cycles, ECP5, capacity)
        if keep:
            finn_json.save(table, kept, graph)
    connected = insert_width_converters(apply_folding(graph, table))
    return insert_fifos(connected, size_fifos(connected))
