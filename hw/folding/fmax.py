"""Estimates Fmax, the clock frequency that a design reaches after place and route, before synthesis.

Three kinds of paths limit a kernel: from a block RAM to the register behind it, through a multiplier, and through the
kernel's own logic. The delay of the last kind differs between kernels and grows with the size of the kernel, because
its nets get longer. The slowest node sets the period of the design. In a small device a kernel with block RAM is slower
among others than alone, because few columns have block RAM; in a large design all periods grow with its size. The
parameters of a family are its ``FmaxModel``, fitted to kernels that were placed alone between two FIFOs.
``python -m benchmarks.clocks`` compares the model with these and with whole networks; with ``--fit`` it rewrites the
family's ``calibration.csv``. ``shell_ns``, ``room`` and ``with_bram`` are fitted to whole networks, and ``grades`` to a
few kernels on faster devices.
"""

from dataclasses import dataclass
from math import log2

from hw.fabric.devices import Device
from hw.fabric.family import Family
from hw.fabric.fmax import Calibration, FmaxModel, Period
from hw.fabric.resources import Resources
from hw.families import spec_of
from hw.host.errors import BitfabricError
from hw.ir.graph import Graph
from hw.ir.kernel import Kernel

CROWDING = 1.6
"""Exponent of the growth of routing delay with the design's number of lookup tables, fitted to the largest networks."""
BUFFER_BITS = 1024
"""Maximum size of a buffer of the shell that Yosys does not put in block RAM."""
SHELL = 1000
"""Approximate number of lookup tables of the shell."""


@dataclass(frozen=True)
class Fmax:
    """The estimated clock of a design.

    Attributes:
        mhz: the maximum clock frequency.
        slowest: the node that limits it, or ``"the shell"``.
        uncalibrated: kernels, by ``Kernel.variant``, without a measurement in this family; the parameters of their role
            were used.
    """

    mhz: float
    slowest: str
    uncalibrated: tuple[str, ...] = ()


def model_of(device: Device) -> FmaxModel | None:
    """The model for a device and its speed grade; None for a device that is not placed and routed."""
    model = spec_of(device.family).fmax
    return model.at(device.grade or device.speed) if model and device.routable else None


def logic_period(kernel: Kernel, variant: str, calibration: Calibration) -> Period:
    """The path through logic of a ``variant`` of the kernel, or that of its role where the family has no calibration of
    the variant.

    Raises BitfabricError where it has neither.
    """
    found = calibration.kernels.get(variant) or calibration.roles.get(kernel.role)
    if found is None:
        raise BitfabricError(
            f"no Fmax figures of kernel {variant} nor of its role {kernel.role}; add a row to the family's "
            "calibration.csv, or run python -m benchmarks.clocks --fit"
        )
    return found


def period(kernel: Kernel, used: Resources, calibration: Calibration, family: Family) -> float:
    """The longest path in nanoseconds of a kernel of ``used`` resources, placed alone."""
    paths = [logic_period(kernel, name, calibration).at(lut) for name, lut in kernel.timing_variants(used, family)]
    if used.bram:
        paths.append(calibration.bram.ns + calibration.bram.growth * log2(max(1, kernel.blocks_together(used))))
    if used.dsp:
        paths.append(calibration.dsp.ns + calibration.dsp.growth * log2(used.dsp))
    return max(paths)


def crowding(lut: float, model: FmaxModel) -> float:
    """The factor by which all periods grow in a design of ``lut`` lookup tables."""
    return 1 + (lut / model.room) ** CROWDING


def estimate_fmax(graph: Graph, device: Device, shell: bool = False) -> Fmax | None:
    """The estimated Fmax of a graph on a device, with the ``shell`` of a board or without it.

    None for a device without place and route. Raises BitfabricError for a kernel for which the family has a calibration
    neither by its name nor by its role.
    """
    if (model := model_of(device)) is None:
        return None
    family = device.family
    costs = {node.name: node.kernel.resources(family) for node in graph}
    periods = {
        node.name: period(node.kernel, costs[node.name], model.calibration, family)
        * (model.with_bram if costs[node.name].bram else 1)
        for node in graph
    }
    if shell:
        buffers = (graph.edges[edge] for edge in (graph.inputs[0].edge, graph.output_edges[0]))
        deep = any(2 * stream.beats * stream.width > BUFFER_BITS for stream in buffers)
        periods["the shell"] = max(model.shell_ns, model.calibration.bram.ns if deep else 0.0)
    slowest = max(periods, key=lambda name: periods[name])
    lut = sum(cost.lut for cost in costs.values()) + SHELL * shell
    variants = (node.kernel.timing_variants(costs[node.name], family) for node in graph)
    unknown = {name for each in variants for name, _ in each} - set(model.calibration.kernels)
    mhz = 1000 / (periods[slowest] * crowding(lut, model))
    return Fmax(mhz, slowest, tuple(sorted(unknown)))
