"""A design point on a target: hardware, RTL and image, each generated at the first access and kept."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from flows.design_point import DesignPoint
from hw.boards.image import Image, format_of, image
from hw.boards.targets import Target
from hw.fabric.devices import Device
from hw.fabric.family import Family
from hw.host.errors import BitfabricError
from hw.host.interface import Input, Interface
from hw.ir.graph import Graph
from hw.model import Model
from hw.rtl.design import RtlDesign, generate


@dataclass(eq=False)
class Implementation:
    """The design that the engines of a build run.

    ``interval``: cycles per frame of the design. ``folder``: the build folder. ``netlist``: the netlist in the folder
    that the build has simulated; None before that. ``benchmark``: frames of each input that the image can replay; 0:
    it has no benchmark. ``products``: hash of every product of the build's steps, by path
    in the folder, as far as they are done.
    """

    target: Target
    point: DesignPoint
    interval: int
    folder: Path
    netlist: Path | None = None
    products: Mapping[str, str] = field(default_factory=dict)
    benchmark: int = 0

    @property
    def model(self) -> Model:
        """The model that it implements."""
        return self.point.model

    @property
    def graph(self) -> Graph:
        """The integer dataflow graph, not folded."""
        return self.point.graph

    @property
    def hardware(self) -> Graph:
        """The graph of the hardware: folded, with width converters and FIFOs."""
        return self.point.hardware

    @property
    def device(self) -> Device:
        return self.target.device

    @property
    def family(self) -> Family:
        return self.target.device.family

    @property
    def clock_mhz(self) -> float:
        """The clock of the design in MHz."""
        return self.point.clock_mhz

    @cached_property
    def rtl(self) -> RtlDesign:
        """The accelerator. Raises BitfabricError where the build's files are others."""
        return self._as_built(generate(self.hardware, self.family), "rtl")

    @cached_property
    def image(self) -> Image | None:
        """The complete design for the board; None where the target is a bare device.

        The image contains the first 64 bits of the model's hash. Raises BitfabricError where the image of the build is
        another.
        """
        if self.target.board is None:
            return None
        number = int(self.model.sha256[:16], 16)
        made = image(self.rtl, self.target, self.clock_mhz, number, self.interval, self.benchmark)
        self._as_built(made.design, "synthesise")
        return made

    def _as_built(self, design: RtlDesign, step: str) -> RtlDesign:
        """The same design, after a comparison with the files of the step that wrote it, if that is done."""
        built = {path for path in self.products if path.startswith(f"{step}/")}
        for name, text in design.files.items() if built else ():
            if self.products.get(f"{step}/{name}") != hashlib.sha256(text.encode()).hexdigest():
                raise BitfabricError(
                    f"{self.folder / step / name} is not what this version of bitfabric makes of the build; build again"
                )
        return design

    def interface(self) -> Interface | None:
        """The interface of the image, for the driver; None where there is no image."""
        if self.image is None:
            return None
        return self.interface_of(self.image.transport.kind, self.image.transport.settings)

    def interface_of(self, transport: str, settings: dict[str, int | str | None]) -> Interface:
        """The frames and host steps of the model, behind a ``transport``."""
        graph, edges = self.graph, self.graph.output_edges
        return Interface(
            int(self.model.sha256[:16], 16),
            transport,
            settings,
            tuple(
                Input(port.name, port.shape, port.dtype, port.steps, format_of(graph.edges[port.edge]))
                for port in graph.inputs
            ),
            tuple(format_of(graph.edges[edge]) for edge in edges),
            tuple(stream.beats for stream in self.rtl.outputs.values()),
            {each.name: (edges.index(each.edge), each.steps) for each in graph.outputs},
            self.model.meaning,
        )

    def key(self) -> list[object]:
        """Everything that the RTL and the image depend on, as JSON-able values."""
        key: list[object] = [self.model.sha256, repr(self.target), self.point.parity, self.interval]
        return [*key, self.point.to_json(), *([self.benchmark] if self.benchmark else [])]
