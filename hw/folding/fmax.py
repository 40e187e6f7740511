"""The clock that a design reaches when it is placed and routed, estimated before synthesis.

Three kinds of paths limit our kernels: out of a block RAM into the register behind it, through a multiplier, and
through a kernel's own logic, which differs from operator to operator and grows with the kernel, for its nets get
longer. The slowest node sets the period of the design, and a big design stretches it. The figures are fitted to kernels
that were placed alone, between two FIFOs; ``python -m benchmarks.clocks`` holds them against these and against whole
networks, and fits them again with ``--fit``; ``shell`` and ``room`` were chosen to suit whole networks.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import log2

from hw import kernels
from hw.fabric.devices import Device
from hw.fabric.resources import Resources
from hw.ir.graph import Graph
from hw.ir.kernel import Kernel, Role

CROWDING = 1.6
"""How fast routing in a bigger design grows longer: with this power of its lookup tables. From the largest networks."""
BUFFER_BITS = 1024
"""A larger buffer of the shell is in block RAM: so Yosys chooses."""
SHELL = 1000
"""Lookup tables of the shell, about."""
SMALL = 256
"""Lookup tables of the kernel that a model's figures for operators are about."""


@dataclass(frozen=True)
class Fmax:
    """The highest clock of a design in MHz, and the node that sets it."""

    mhz: float
    slowest: str


@dataclass(frozen=True)
class Model:
    """Periods of one family in nanoseconds.

    ``block``: through a block RAM, ``blocks`` more for every doubling of their number in a kernel; ``dsp``, ``dsps``:
    likewise through multipliers. ``logic``: by operator, of a kernel of SMALL lookup tables, and the power of their
    number with which it grows. ``shell``: of the link and the other parts around the accelerator, with small buffers.
    In a design of ``room`` lookup tables every period is twice as long (see CROWDING).
    """

    block: float
    blocks: float
    dsp: float
    dsps: float
    shell: float
    room: float
    logic: Mapping[str, tuple[float, float]]

    def at(self, block: float, rest: float) -> "Model":
        """Another speed grade: so many times as long through block RAM, and through all else."""
        logic = {name: (rest * period, growth) for name, (period, growth) in self.logic.items()}
        sizes = {"blocks": block * self.blocks, "dsps": rest * self.dsps}
        return replace(
            self, block=block * self.block, dsp=rest * self.dsp, shell=rest * self.shell, logic=logic, **sizes
        )


ECP5 = Model(
    block=7.11, blocks=0.12, dsp=6.47, dsps=0.43, shell=6.3, room=46_000,
    logic={"accumulate_pool": (5.81, 0.16), "add": (4.56, 0.11), "arg_max": (5.55, 0.09), "concat": (4.65, 0.14),
           "depthwise": (5.43, 0.0), "fifo": (5.48, 0.06), "fork": (3.99, 0.11),
           "matrix_vector input_planes": (5.81, 0.09), "matrix_vector multiply": (4.96, 0.08),
           "matrix_vector ternary": (4.96, 0.08), "matrix_vector weight_planes": (6.28, 0.06),
           "matrix_vector xnor": (4.56, 0.08), "max_pool": (6.35, 0.0), "requant": (4.73, 0.05),
           "sliding_window": (5.26, 0.12), "threshold": (3.77, 0.14), "upsample": (4.14, 0.09),
           "width_converter": (4.02, 0.03)},
)  # fmt: skip
ICE40 = Model(
    block=14.09, blocks=1.52, dsp=20.52, dsps=0.0, shell=20.4, room=4_200,
    logic={"accumulate_pool": (21.26, 0.38), "add": (14.55, 0.08), "arg_max": (19.12, 0.0),
           "concat": (14.15, 0.07), "depthwise": (13.37, 0.13), "fifo": (16.13, 0.13), "fork": (14.63, 0.19),
           "matrix_vector input_planes": (16.13, 0.13), "matrix_vector ternary": (16.13, 0.13),
           "matrix_vector multiply": (16.13, 0.13), "matrix_vector weight_planes": (14.47, 0.13),
           "matrix_vector xnor": (13.74, 0.14), "max_pool": (23.57, 0.48), "requant": (15.38, 0.02),
           "sliding_window": (17.79, 0.0), "threshold": (15.1, 0.07), "upsample": (17.87, 0.13),
           "width_converter": (14.08, 0.0)},
)  # fmt: skip
GOWIN = Model(
    block=5.16, blocks=0.64, dsp=6.87, dsps=0.03, shell=5.6, room=2_600,
    logic={"accumulate_pool": (7.56, 0.21), "add": (4.71, 0.17), "arg_max": (6.28, 0.07), "concat": (3.79, 0.0),
           "depthwise": (4.05, 0.34), "fifo": (5.54, 0.14), "fork": (3.83, 0.05),
           "matrix_vector input_planes": (5.29, 0.16), "matrix_vector multiply": (5.29, 0.16),
           "matrix_vector ternary": (6.52, 0.25), "matrix_vector weight_planes": (6.2, 0.39),
           "matrix_vector xnor": (5.29, 0.16), "max_pool": (7.21, 0.23), "requant": (4.87, 0.22),
           "sliding_window": (5.52, 0.0), "threshold": (4.94, 0.13), "upsample": (4.7, 0.16),
           "width_converter": (5.41, 0.0)},
)  # fmt: skip
MODELS = {"ecp5": ECP5, "ice40": ICE40, "gowin": GOWIN}
"""By name of the family, for the slowest speed grade. Families that are not here are not placed."""
GRADES = {"8": ECP5.at(0.67, 0.78), "5g": ECP5.at(0.48, 0.64)}
"""ECP5's faster ones, from a few kernels on LFE5U-25F-8 and LFE5UM5G-85F; of grade 7 nothing is known but that it is no
slower than 6."""


def _model(device: Device) -> Model | None:
    if not device.routable:
        return None
    faster = GRADES.get("5g" if "um5g" in device.name else device.speed) if device.family.name == "ecp5" else None
    return faster or MODELS.get(device.family.name)


def _generic(role: Role, model: Model) -> tuple[float, float]:
    """The slowest figures of the kernels with this role, for a kernel that was never placed in this family."""
    return max(figures for variant, figures in model.logic.items() if kernels.get(variant.split()[0]).role == role)


def period(kernel: Kernel, used: Resources, model: Model) -> float:
    """Nanoseconds of the longest path of a kernel that takes ``used``, placed alone."""
    logic, growth = model.logic.get(kernel.variant) or _generic(kernel.role, model)
    paths = [logic * (max(1, used.lut) / SMALL) ** growth]
    if used.bram:
        paths.append(model.block + model.blocks * log2(used.bram))
    if used.dsp:
        paths.append(model.dsp + model.dsps * log2(used.dsp))
    return max(paths)


def estimate_fmax(graph: Graph, device: Device, shell: bool = False) -> Fmax | None:
    """The Fmax of a graph on a device, with a board's ``shell`` around it or without; None for a device that is not
    placed and routed."""
    if (model := _model(device)) is None:
        return None
    costs = {node.name: node.kernel.resources(device.family) for node in graph}
    periods = {node.name: period(node.kernel, costs[node.name], model) for node in graph}
    if shell:
        buffers = (graph.edges[edge] for edge in (graph.inputs[0].edge, graph.output_edges[0]))
        deep = any(2 * stream.beats * stream.width > BUFFER_BITS for stream in buffers)
        periods["the shell"] = max(model.shell, model.block if deep else 0.0)
    slowest = max(periods, key=lambda name: periods[name])
    lut = sum(cost.lut for cost in costs.values()) + SHELL * shell
    return Fmax(1000 / (periods[slowest] * (1 + (lut / model.room) ** CROWDING)), slowest)
