"""The AXI4-Stream ports of a core: the streams of its accelerator, padded to octets."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from hw.host.errors import BitfabricError
from hw.host.interface import step_to_json
from hw.ir.graph import Graph, Port
from hw.ir.stream import Stream
from hw.rtl.design import RtlDesign

MOST_BITS = 4096
"""The widest TDATA, 512 octets: what the stream interconnects of AMD and Intel carry."""


@dataclass(frozen=True)
class AxiStream:
    """An AXI4-Stream port.

    Attributes:
        name: prefix of its signals, ``s_axis`` or ``m_axis``, numbered where there are several.
        wire: the stream of the accelerator.
        stream: shape, type and lanes.
        entry: whether frames enter here.
        tensors: the tensors of the model that it carries, with the host's steps.
    """

    name: str
    wire: str
    stream: Stream
    entry: bool
    tensors: tuple[Port, ...]

    @property
    def octets(self) -> int:
        """Octets of TDATA, which are the bits of TKEEP."""
        return -(-self.stream.width // 8)

    @property
    def bits(self) -> int:
        """Bits of TDATA."""
        return 8 * self.octets

    @property
    def padding(self) -> int:
        """Bits of TDATA above the beat: ignored on an input, 0 on an output."""
        return self.bits - self.stream.width

    def words(self, frames: np.ndarray) -> list[str]:
        """Integer frames ``(N, *shape)`` as the hexadecimal TDATA of each beat."""
        beats = self.stream.pack(np.ascontiguousarray(frames))
        octets = np.ascontiguousarray(beats).view(np.uint8)[:, : self.octets]
        return [bytes(row[::-1]).hex() for row in octets]

    def to_json(self) -> dict[str, Any]:
        """The port as the port document states it."""
        stream = self.stream
        return {
            "name": self.name,
            "direction": "input" if self.entry else "output",
            "shape": list(stream.shape),
            "layout": "NHWC without the batch, row-major",
            "type": stream.dtype.name,
            "bits": stream.dtype.bitwidth(),
            "signed": bool(stream.dtype.signed()) and stream.dtype.name != "BIPOLAR",
            "code": _code(stream),
            "lanes": stream.lanes,
            "lane_order": "lane 0, the first element of a beat, is in the low bits",
            "beats_per_frame": stream.beats,
            "data_bits": stream.width,
            "tdata_bits": self.bits,
            "tkeep_bits": self.octets,
            "tensors": [
                {
                    "name": port.name,
                    "shape": list(port.shape),
                    "type": port.dtype,
                    "steps": [step_to_json(each) for each in port.steps],
                }
                for port in self.tensors
            ],
        }


def _code(stream: Stream) -> str:
    if stream.dtype.name == "BIPOLAR":
        return "0 for -1, 1 for +1"
    return "two's complement" if stream.dtype.signed() else "plain binary"


def axi_streams(graph: Graph, design: RtlDesign) -> tuple[AxiStream, ...]:
    """The ports of ``design``, the RTL of ``graph``; inputs first.

    Raises BitfabricError for a beat of more than ``MOST_BITS`` bits.
    """
    found = []
    for letter, streams, edges in (
        ("s", design.inputs, [port.edge for port in graph.inputs]),
        ("m", design.outputs, graph.output_edges),
    ):
        for number, ((wire, stream), edge) in enumerate(zip(streams.items(), edges, strict=True)):
            name = f"{letter}_axis" if len(streams) == 1 else f"{letter}{number}_axis"
            ports = graph.inputs if letter == "s" else graph.outputs
            tensors = tuple(port for port in ports if port.edge == edge)
            port = AxiStream(name, wire, stream, letter == "s", tensors)
            if port.bits > MOST_BITS:
                raise BitfabricError(
                    f"{tensors[0].name} has beats of {stream.width} bits, and an AXI4-Stream carries at most "
                    f"{MOST_BITS}; build with a lower --fps, so that fewer elements move in a cycle"
                )
            found.append(port)
    return tuple(found)
