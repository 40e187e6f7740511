"""The clock that a design reaches when it is placed and routed, estimated before synthesis.

Three kinds of paths limit our kernels: out of a block RAM into the register behind it, through a multiplier, and
through a kernel's own logic, which differs from operator to operator and grows with the kernel, for its nets get
longer. The slowest node sets the period of the design, and a big design stretches it. The figures are fitted to kernels
that were placed alone, between two FIFOs; ``python -m benchmarks.clocks`` holds them against these and against whole
networks, and fits them again with ``--fit``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import log2

from hw.graph import Graph
from hw.kernels.kernel import Kernel, Resources
from hw.kernels.matrix_vector import MatrixVector
from hw.synth.devices import Device

CROWDING = 1.6
"""How fast routing in a bigger design grows longer: with this power of its lookup tables. From the largest networks."""
BUFFER_BITS = 1024
"""A larger buffer of the shell is in block RAM: so Yosys chooses."""
SMALL = 256
"""Lookup tables of a kernel that needs no more than the time of its operator."""


@dataclass(frozen=True)
class Fmax:
    """The highest clock of a design in MHz, and the node that sets it."""

    mhz: float
    slowest: str


@dataclass(frozen=True)
class Model:
    """Periods of one family in nanoseconds.

    ``block``: through a block RAM, ``blocks`` more for every doubling of their number in a kernel; ``dsp``, ``dsps``:
    likewise through multipliers. ``logic``: by operator, of a kernel of SMALL lookup tables; ``growth``: more for
    every doubling of them. ``shell``: of the link and the other parts around the accelerator, with small buffers. In a
    design of ``room`` lookup tables every period is twice as long (see CROWDING).
    """

    block: float
    blocks: float
    dsp: float
    dsps: float
    growth: float
    shell: float
    room: float
    logic: Mapping[str, float]

    def at(self, block: float, rest: float) -> "Model":
        """Another speed grade: so many times as long through block RAM, and through all else."""
        logic = {name: rest * period for name, period in self.logic.items()}
        sizes = {"blocks": block * self.blocks, "dsps": rest * self.dsps, "growth": rest * self.growth}
        return replace(
            self, block=block * self.block, dsp=rest * self.dsp, shell=rest * self.shell, logic=logic, **sizes
        )


def kind(kernel: Kernel) -> str:
    """The operator, and the datapath where it has several."""
    return f"{kernel.op} {kernel.datapath}" if isinstance(kernel, MatrixVector) else kernel.op


ECP5 = Model(
    block=7.11, blocks=0.12, dsp=6.36, dsps=0.47, growth=0.56, shell=6.3, room=46_000,
    logic={"accumulate_pool": 5.49, "add": 4.16, "arg_max": 4.92, "concat": 4.02, "depthwise": 5.18, "fifo": 5.25,
           "fork": 3.81, "matrix_vector input_planes": 5.34, "matrix_vector multiply": 4.67,
           "matrix_vector ternary": 4.67, "matrix_vector weight_planes": 5.53, "matrix_vector xnor": 3.78,
           "max_pool": 6.24, "requant": 4.74, "sliding_window": 4.98, "threshold": 3.54, "upsample": 3.92,
           "width_converter": 3.75},
)  # fmt: skip
MODELS = {"ecp5": ECP5}
"""By name of the family, for the slowest speed grade. Families that are not here are not placed."""
GRADES = {"8": ECP5.at(0.67, 0.78), "5g": ECP5.at(0.48, 0.64)}
"""ECP5's faster ones, from a few kernels on LFE5U-25F-8 and LFE5UM5G-85F; of grade 7 nothing is known but that it is no
slower than 6."""


def _model(device: Device) -> Model | None:
    if not device.routable:
        return None
    faster = GRADES.get("5g" if "um5g" in device.name else device.speed) if device.family.name == "ecp5" else None
    return faster or MODELS.get(device.family.name)


def period(kernel: Kernel, used: Resources, model: Model) -> float:
    """Nanoseconds of the longest path of a kernel that takes ``used``, placed alone."""
    paths = [model.logic[kind(kernel)] + model.growth * max(0.0, log2(max(1, used.lut) / SMALL))]
    if used.bram:
        paths.append(model.block + model.blocks * log2(used.bram))
    if used.dsp:
        paths.append(model.dsp + model.dsps * log2(used.dsp))
    return max(paths)


def estimate(graph: Graph, device: Device, shell: bool = False) -> Fmax | None:
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
    lut = sum(cost.lut for cost in costs.values())
    return Fmax(1000 / (periods[slowest] * (1 + (lut / model.room) ** CROWDING)), slowest)
