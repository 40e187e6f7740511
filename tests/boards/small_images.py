"""Small images for tests of the host link."""

from functools import cache

from qonnx.core.datatype import DataType

from hw.boards.image import Image, format_of, image
from hw.boards.targets import find_target
from hw.families.ecp5 import ECP5
from hw.host.packing import Format
from hw.ir.stream import Stream
from hw.kernels.fifo.kernel import Fifo
from hw.kernels.width_converter.kernel import WidthConverter
from hw.rtl.design import generate
from tests.boards.faulty_line import MODEL
from tests.kernels.kernel_bench import alone

Small = tuple[Image, Stream, Format]


@cache
def small_image(bits: int = 5, channels: int = 12, lanes: int = 4, out_lanes: int = 12) -> Small:
    """An image that gives back its frames, their stream and their format on the link."""
    stream = Stream((channels,), DataType[f"INT{bits}"], lanes)
    kernel = Fifo(stream, 8) if lanes == out_lanes else WidthConverter(stream, out_lanes)
    design = image(generate(alone(kernel), ECP5), find_target("ulx3s-85f"), 75, MODEL)
    return design, stream, format_of(stream)


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
