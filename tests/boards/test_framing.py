"""The framing of the host link, exhaustively: every short sequence of octets that means something to its machines."""

import itertools
import zlib
from importlib.resources import files

import numpy as np
from qonnx.core.datatype import DataType

from hw.host.protocol import Message, encode
from hw.ir.stream import Stream
from hw.rtl.design import RtlDesign
from hw.simulation import verilator

ALPHABET = (0x7E, 0x7D, 0x5E, 0x00)
"""The flag, the escape, an escaped flag's second octet, and an ordinary one."""
LENGTH = 6
RESIDUE = zlib.crc32(b"\0\0\0\0")
"""CRC of anything with its own CRC behind it."""

DEFRAME = """
`default_nettype none
// One octet at a time through the deframer; after each, what it gave: {good, bad, first, valid, octet}.
module bench (
    input  wire logic clk, input wire logic rst,
    input  wire logic s_valid, output logic s_ready, input wire logic [7:0] s_data,
    output      logic m_valid, input wire logic m_ready, output logic [15:0] m_data
);
  logic [3:0] left;
  logic valid, first, good, bad;
  logic [7:0] octet;
  assign s_ready = !m_valid && left == '0;
  bf_deframer dut (
      .clk, .rst, .s_valid(s_valid && s_ready), .s_data, .s_error(1'b0),
      .m_valid(valid), .m_first(first), .m_data(octet), .good, .bad
  );
  always_ff @(posedge clk) begin
    if (s_valid && s_ready) begin
      left   <= 4'd12;
      m_data <= '0;
    end else if (left != '0) begin
      left <= left - 4'd1;
      m_valid <= left == 4'd1;
      m_data[11] <= m_data[11] || good;
      m_data[10] <= m_data[10] || bad;
      if (valid) m_data[9:0] <= {first, 1'b1, octet};
    end else if (m_ready) m_valid <= 1'b0;
    if (rst) {m_valid, left} <= '0;
  end
endmodule
"""

FRAME = """
`default_nettype none
// Octets, the ninth bit of a message's last one being set, through the framer.
module bench (
    input  wire logic clk, input wire logic rst,
    input  wire logic s_valid, output logic s_ready, input wire logic [8:0] s_data,
    output      logic m_valid, input wire logic m_ready, output logic [7:0] m_data
);
  bf_framer dut (
      .clk, .rst, .s_valid, .s_ready, .s_data(s_data[7:0]), .s_last(s_data[8]), .m_valid, .m_ready, .m_data
  );
endmodule
"""


def bench(part: str, text: str, taken: tuple[int, str], given: tuple[int, str]) -> verilator.Simulator:
    source = files("hw.boards").joinpath("shell", f"{part}.sv").read_text()
    streams = [{name: Stream((count,), DataType[kind])} for name, (count, kind) in (("s", taken), ("m", given))]
    return verilator.build(RtlDesign("bench", *streams, {f"{part}.sv": source, "bench.sv": text}))


def expected(octets: bytes) -> list[int]:
    """What the deframer must give after each octet."""
    records, content, escaped, damaged = [], bytearray(), False, False
    for octet in octets:
        record = 0
        if octet == 0x7E:
            whole = not damaged and not escaped
            if content and whole and zlib.crc32(content) == RESIDUE:
                record = 1 << 11
            elif content or not whole:
                record = 1 << 10
            content, escaped, damaged = bytearray(), False, False
        elif octet == 0x7D:
            damaged |= escaped
            escaped = True
        else:
            value = octet ^ 0x20 if escaped else octet
            record = (not content) << 9 | 1 << 8 | value
            content.append(value)
            escaped = False
        records.append(record)
    return records


def test_the_deframer_is_right_after_every_sequence_and_finds_the_next_message() -> None:
    message = encode(Message(0x02, 0x7D7E, b"\x7e\x00"))
    line = b"".join(bytes(before) + message for before in itertools.product(ALPHABET, repeat=LENGTH))
    simulator = bench("bf_deframer", DEFRAME, (len(line), "UINT8"), (len(line), "UINT16"))
    octets = np.frombuffer(line, np.uint8)[None].astype(np.int64)
    got = simulator.run({"s": octets}).outputs["m"][0]
    np.testing.assert_array_equal(got, expected(line))
    ends = got[LENGTH + len(message) - 1 :: LENGTH + len(message)]
    assert len(ends) == len(ALPHABET) ** LENGTH
    assert set(ends) == {1 << 11}, "a message was not found after all that came before"


def test_the_framer_says_what_the_codec_says() -> None:
    contents = [bytes(c) for n in range(1, 5) for c in itertools.product(ALPHABET, repeat=n)]
    # The codec's messages have a type and a tag; the framer does not know of them.
    messages = [Message(0x7E, 0x5D7D, content) for content in contents]
    line = b"".join(map(encode, messages))
    sent = [bytes([0x7E, 0x7D, 0x5D]) + content for content in contents]
    octets = [octet | (i == len(one) - 1) << 8 for one in sent for i, octet in enumerate(one)]
    simulator = bench("bf_framer", FRAME, (len(octets), "UINT9"), (len(line), "UINT8"))
    ready = np.random.default_rng(0).random(1 << 14) < 0.7
    got = simulator.run({"s": np.array(octets)[None]}, ready={"m": ready}).outputs["m"][0]
    assert bytes(got.astype(np.uint8)) == line
