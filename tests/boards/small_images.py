"""Small images for tests of the host link."""

from functools import cache
from pathlib import Path

import numpy as np
from qonnx.core.datatype import DataType

from hw.boards.image import Image, format_of, image
from hw.boards.targets import Target, find_target
from hw.families.ecp5 import ECP5
from hw.host.packing import Format
from hw.ir.graph import Graph, Node, Port
from hw.ir.stream import Stream
from hw.kernels.fifo.kernel import Fifo
from hw.kernels.fork.kernel import Fork
from hw.kernels.threshold.kernel import Threshold
from hw.kernels.width_converter.kernel import WidthConverter
from hw.rtl.design import generate
from tests.boards.faulty_line import MODEL
from tests.kernels.kernel_bench import alone

SAMPLES = Path(__file__).parents[2] / "docs" / "samples"
Small = tuple[Image, Stream, Format]


@cache
def small_image(bits: int = 5, channels: int = 12, lanes: int = 4, out_lanes: int = 12) -> Small:
    """An image that gives back its frames, their stream and their format on the link."""
    stream = Stream((channels,), DataType[f"INT{bits}"], lanes)
    kernel = Fifo(stream, 8) if lanes == out_lanes else WidthConverter(stream, out_lanes)
    design = image(generate(alone(kernel), ECP5), find_target("ulx3s-85f"), 75, MODEL)
    return design, stream, format_of(stream)


def link_target(link: str) -> Target:
    """The board with this host link: the ULX3S with its serial port, or the one of the sample file."""
    return find_target("ulx3s-85f" if link == "uart" else str(SAMPLES / f"ulx3s-{link}.yaml"))


@cache
def linked_image(
    link: str, bits: int = 8, channels: int = 12, lanes: int = 4, out_lanes: int = 12, mhz: float = 75
) -> tuple[Image, Stream]:
    """An image that gives back its frames over a host link, with a benchmark of 4 frames, and their stream."""
    stream = Stream((channels,), DataType[f"INT{bits}"], lanes)
    graph = alone(WidthConverter(stream, out_lanes))
    return image(generate(graph, ECP5), link_target(link), mhz, MODEL, stream.beats, 4), stream


@cache
def several_outputs() -> tuple[Image, Graph]:
    """An image whose input leaves it three times: in beats of 4, whole, and as two bits of each element."""
    stream = Stream((12,), DataType["INT5"], 4)
    limits = np.repeat([[-8, 0, 9]], 12, axis=0)
    coarse = Threshold(limits, np.zeros(12, bool), stream.dtype, DataType["UINT2"], pe=4)
    nodes = (
        Node("copies", Fork((12,), stream.dtype, 3, 4), ("x",), ("a", "b", "c")),
        Node("whole", WidthConverter(stream, 12), ("b",), ("d",)),
        Node("coarse", coarse, ("c",), ("e",)),
    )
    ports = tuple(Port(edge, edge, (12,), "int") for edge in ("a", "d", "e"))
    graph = Graph(nodes, (Port("x", "x", (12,), "INT5"),), ports)
    return image(generate(graph, ECP5), find_target("ulx3s-85f"), 75, MODEL), graph


STRETCH = """
`default_nettype none
module stretch (
    input  wire logic clk, input wire logic rst,
    input  wire logic s_valid, output logic s_ready, input wire logic [7:0] s_data,
    output      logic m_valid, input wire logic m_ready, output logic [7:0] m_data
);
  logic [5:0] left;
  assign s_ready = left == '0;
  assign m_valid = left != '0;
  always_ff @(posedge clk) begin
    if (rst) left <= '0;
    else if (s_valid && s_ready) left <= 6'd40;
    else if (m_valid && m_ready) left <= left - 6'd1;
    if (s_valid && s_ready) m_data <= s_data;
    else if (m_valid && m_ready) m_data <= m_data + 8'd1;
  end
endmodule
"""
