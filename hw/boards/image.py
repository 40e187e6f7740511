"""The image: the complete design for a board, with clock and reset, the host link, and the accelerator."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from math import gcd
from typing import Literal

from qonnx.core.datatype import DataType

from hw.boards.targets import Board, Target
from hw.boards.transport import Transport
from hw.boards.transports import transport
from hw.fabric.devices import Device
from hw.fabric.pll import Pll
from hw.fabric.toolchain import Pin
from hw.host.packing import Format
from hw.host.protocol import MAX_SLOTS, MESSAGE_OCTETS, joined_octets
from hw.ir.stream import Stream
from hw.rtl.design import RtlDesign
from hw.synth.netlist import models
from hw.synth.pll import instance, solve

SHELL = (
    "bf_deframer", "bf_framer", "bf_frame_in", "bf_frame_out", "bf_inputs", "bf_outputs", "bf_reply", "bf_signature",
    "bf_benchmark", "bf_link", "bf_power_on",
)  # fmt: skip
"""The modules of every image."""
TOP = "image"
SCOPE = "accelerator"
"""Instance name of the accelerator in the image."""
FEW, MANY = 2, MAX_SLOTS
"""Possible numbers of frames in flight."""


@dataclass(frozen=True)
class Image:
    """A design with its constraints.

    Attributes:
        design: the image. It has no streams: its ports are pins of the board, ``clk_board``, those of the transport and
            others.
        accelerator: the accelerator inside.
        board: the board.
        pins: the pin of each port.
        pll: setting of the PLL.
        transport: what carries the octets of the host link.
        model: hash of the model, 64 bits, by which the driver recognises the image.
        benchmark: frames of each input that it can replay; 0: it has no benchmark.
    """

    design: RtlDesign
    accelerator: RtlDesign
    board: Board
    pins: tuple[Pin, ...]
    pll: Pll
    transport: Transport
    model: int
    benchmark: int = 0

    @property
    def clock_mhz(self) -> float:
        """Clock of the accelerator, the output of the PLL."""
        return self.pll.mhz


def format_of(stream: Stream) -> Format:
    """The format of a stream's frames on the link. It does not depend on the lanes of the stream."""
    bipolar = stream.dtype == DataType["BIPOLAR"]
    kind: Literal["bipolar", "signed", "unsigned"] = (
        "bipolar" if bipolar else "signed" if stream.dtype.signed() else "unsigned"
    )
    return Format(stream.shape, stream.dtype.bitwidth(), kind)


def payload_octets(formats: Sequence[Format]) -> int:
    """Octets of the payload of a message with a frame of every port."""
    return joined_octets([each.octets for each in formats])


def slots(input_octets: int, output_octets: int, cycles: float, interval: int | None) -> int:
    """Number of frames that may be in flight.

    The input buffer holds two. More frames in flight hide the latency of a USB adapter. They are possible where the
    accelerator is faster than the line, and a result takes less time on the line than a frame even if every octet of
    the result is escaped. ``input_octets``, ``output_octets``: payloads of their messages; ``cycles``: those of an
    octet on the line; ``interval``: cycles per frame, None where it is unknown.
    """
    line = (input_octets + MESSAGE_OCTETS) * cycles
    results = 2 * output_octets + MESSAGE_OCTETS <= input_octets + MESSAGE_OCTETS
    return MANY if interval is not None and interval <= line and results else FEW


def receive_step(entries: Sequence[Stream], step: int) -> int:
    """Bits of a received octet that the buffers of all inputs take in a cycle, at most ``step``."""
    return min(gcd(entry.width, step) for entry in entries)


def receive_pace(step: int) -> float:
    """Cycles in which the image takes an octet, of which it takes ``step`` bits in one."""
    return 8 / step + 2


def image(
    accelerator: RtlDesign,
    target: Target,
    clock_mhz: float,
    model_hash: int,
    interval: int | None = None,
    benchmark: int = 0,
) -> Image:
    """The image of an accelerator, at the fastest clock up to ``clock_mhz``.

    ``target`` must be a board. ``model_hash`` has 64 bits; the driver recognises the image by it. ``interval``: cycles
    per frame of the accelerator, where it is known. ``benchmark``: frames of each input that the image can replay at
    full rate, 0 or within ``hw.host.protocol.BENCHMARK_FRAMES``. Raises UsageError where the PLL cannot make
    ``clock_mhz`` from the clock of the board, and where the clock is too slow for the board's link.
    """
    if not 0 <= model_hash < 1 << 64:
        raise ValueError("a model hash has 64 bits")
    board, family = target.board, target.device.family
    if board is None:
        raise ValueError(f"{target.name} is no board")
    pll = solve(board.clock.mhz, clock_mhz, target.device)
    link = transport(board, target.device, pll.mhz * 1e6)
    entries, results = list(accelerator.inputs.values()), list(accelerator.outputs.values())
    in_octets, out_octets = (payload_octets(list(map(format_of, each))) for each in (entries, results))
    step = receive_step(entries, link.step)
    link = link.paced(receive_pace(step), pll.mhz * 1e6)
    parameters: dict[str, int | str] = {
        "RX_STEP": step,
        "TX_STEP": link.step,
        "FILL": int(link.fill),
        "INS": len(entries),
        "IN_WIDTH": _words([entry.width for entry in entries]),
        "IN_BEATS": _words([entry.beats for entry in entries]),
        "IN_BITS": sum(entry.width for entry in entries),
        "OUTS": len(results),
        "OUT_WIDTH": _words([result.width for result in results]),
        "OUT_BEATS": _words([result.beats for result in results]),
        "OUT_STEP": _words([gcd(result.width, link.step) for result in results]),
        "OUT_BITS": sum(result.width for result in results),
        "MODEL": f"64'h{model_hash:016x}",
        "CLOCK_HZ": round(pll.mhz * 1e6),
        "SLOTS": slots(in_octets, out_octets, max(link.receive_cycles, receive_pace(step)), interval),
        "PARITY": int(accelerator.parity),
        "BENCHMARK": benchmark,
    }
    shell = files("hw.boards").joinpath("shell")
    sources = {f"{name}.sv": shell.joinpath(f"{name}.sv").read_text() for name in (*link.modules, *SHELL)}
    cells = [f"{family.name}_{name}" for name in ("pll.sv", *link.models)]
    sources |= {name: models(family)[name] for name in cells} | accelerator.files
    sources[f"{TOP}.sv"] = _top(accelerator, target.device, board, pll, link, parameters)
    return Image(
        RtlDesign(TOP, {}, {}, sources), accelerator, board, _pins(board, link), pll, link, model_hash, benchmark
    )


def _words(numbers: list[int]) -> str:
    """A parameter of 32-bit words, the first in the low bits."""
    return "{" + ", ".join(f"32'd{number}" for number in reversed(numbers)) + "}"


def _connected(streams: Mapping[str, Stream], letter: str) -> tuple[list[str], int]:
    """The connections of streams to the vectors of all of them, ``letter`` for the link's, and the bits of their
    beats."""
    connected, place = [], 0
    for index, (name, stream) in enumerate(streams.items()):
        connected += [f".{name}_valid({letter}_valid[{index}])", f".{name}_ready({letter}_ready[{index}])"]
        connected.append(f".{name}_data ({letter}_data[{place + stream.width - 1}:{place}])")
        place += stream.width
    return connected, place


def _top(
    accelerator: RtlDesign, device: Device, board: Board, pll: Pll, link: Transport, parameters: Mapping[str, int | str]
) -> str:
    ins, in_bits = _connected(accelerator.inputs, "s")
    outs, out_bits = _connected(accelerator.outputs, "m")
    ports = ["input  wire logic clk_board", *(declaration for declaration, _ in link.ports)]
    if board.reset:
        ports.append("input  wire logic reset")
    if board.leds:
        ports.append(f"output      logic [{len(board.leds) - 1}:0] led")
    ports += [f"output      logic {name}" for name in board.high]
    pushed = "1'b0" if not board.reset else "reset" if board.reset.active == "high" else "!reset"
    tail = "".join(f"  assign {name} = 1'b1;\n" for name in board.high)
    if board.leds:
        dark = "~" if board.leds_active == "low" else ""
        tail += f"  assign led = {dark}{len(board.leds)}'({{faulty, busy, !rst}});\n"
    parity_error = ",\n      .parity_error" if accelerator.parity else ""
    tail += "" if accelerator.parity else "  assign parity_error = 1'b0;\n"
    streams = ",\n      ".join(ins + outs)
    settings = ",\n".join(f"      .{key}({value})" for key, value in parameters.items())
    listed = ",\n    ".join(ports)
    return f"""\
// Generated by bitfabric: the whole design for {board.name}. LEDs: running, frames under way, a message was dropped.
`default_nettype none

module {TOP} (
    {listed}
);
  logic clk, locked;
{instance(pll, device, "clk_board", "clk", "locked")}
  logic rst;
  bf_power_on reset_logic (
      .clk,
      .hold(!locked || {pushed}),
      .rst
  );

  logic rx_valid, rx_ready, rx_error, tx_valid, tx_ready;
  logic [7:0] rx_data, tx_data;
{link.body}
  logic [{len(accelerator.inputs) - 1}:0] s_valid, s_ready;
  logic [{in_bits - 1}:0] s_data;
  logic [{len(accelerator.outputs) - 1}:0] m_valid, m_ready;
  logic [{out_bits - 1}:0] m_data;
  logic parity_error, busy, faulty;
  bf_link #(
{settings}
  ) host (
      .clk,
      .rst,
      .rx_valid,
      .rx_ready,
      .rx_data,
      .rx_error,
      .tx_valid,
      .tx_ready,
      .tx_data,
      .s_valid,
      .s_ready,
      .s_data,
      .m_valid,
      .m_ready,
      .m_data,
      .parity_error,
      .busy,
      .faulty
  );
  {accelerator.top} {SCOPE} (
      .clk,
      .rst,
      {streams}{parity_error}
  );
{tail}endmodule
"""


def _pins(board: Board, link: Transport) -> tuple[Pin, ...]:
    """The pin of each port of the image."""
    found = [
        Pin("clk_board", board.clock.pin, board.io, mhz=board.clock.mhz),
        *(pin for _, pins in link.ports for pin in pins),
    ]
    if board.reset:
        found.append(Pin("reset", board.reset.pin, board.reset.io or board.io, board.reset.pull))
    found += [Pin(f"led[{i}]", pin, board.io) for i, pin in enumerate(board.leds)]
    found += [Pin(name, pin, board.io) for name, pin in board.high.items()]
    return tuple(found)
