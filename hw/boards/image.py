"""The image: the complete design for a board, with clock and reset, the host link, and the accelerator."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

from qonnx.core.datatype import DataType

from hw.boards.targets import Board, Target
from hw.fabric.devices import Device
from hw.fabric.pll import Pll
from hw.fabric.toolchain import Pin
from hw.host.errors import BitfabricError, UsageError
from hw.host.packing import Format
from hw.host.protocol import MAX_SLOTS, MESSAGE_OCTETS
from hw.ir.stream import Stream
from hw.rtl.design import RtlDesign
from hw.synth.netlist import models
from hw.synth.pll import instance, solve

SHELL = (
    "bf_uart_rx", "bf_uart_tx", "bf_deframer", "bf_framer", "bf_frame_in", "bf_frame_out", "bf_link", "bf_power_on",
)  # fmt: skip
TOP = "image"
SCOPE = "accelerator"
"""Instance name of the accelerator in the image."""
BAUDS = (3_000_000, 2_000_000, 1_500_000, 1_000_000, 921_600, 460_800, 230_400, 115_200)
"""Baud rates that serial adapters support."""
BAUD_ERROR = 0.015
"""Maximum relative error of the baud rate that a receiver tolerates."""
MIN_DIVISOR = 8
"""Minimum clock cycles per bit that the receiver needs."""
OCTET_BITS = 10
"""Bits of an octet on the line, including start and stop bit."""
FEW, MANY = 2, MAX_SLOTS
"""Possible numbers of frames in flight."""


@dataclass(frozen=True)
class Image:
    """A design with its constraints.

    Attributes:
        design: the image. It has no streams: its ports are pins of the board, ``clk_board``, ``uart_rx``, ``uart_tx``
            and others.
        accelerator: the accelerator inside.
        board: the board.
        pins: the pin of each port.
        pll: setting of the PLL.
        baud: baud rate of the host.
        divisor: clocks per bit of the UART.
        model: hash of the model, 64 bits, by which the driver recognises the image.
    """

    design: RtlDesign
    accelerator: RtlDesign
    board: Board
    pins: tuple[Pin, ...]
    pll: Pll
    baud: int
    divisor: int
    model: int

    @property
    def clock_mhz(self) -> float:
        """Clock of the accelerator, the output of the PLL."""
        return self.pll.mhz


def baud_rate(clock_hz: float, max_baud: int) -> tuple[int, int]:
    """The fastest baud rate of BAUDS up to ``max_baud``, with a divisor that is within BAUD_ERROR; returns both.

    Raises UsageError where there is none.
    """
    for baud in BAUDS:
        divisor = round(clock_hz / baud)
        if baud <= max_baud and divisor >= MIN_DIVISOR and abs(clock_hz / divisor / baud - 1) < BAUD_ERROR:
            return baud, divisor
    raise UsageError(f"no baud rate up to {max_baud} from a clock of {clock_hz / 1e6:g} MHz; raise --clock")


def format_of(stream: Stream) -> Format:
    """The format of a stream's frames on the link. It does not depend on the lanes of the stream."""
    bipolar = stream.dtype == DataType["BIPOLAR"]
    kind: Literal["bipolar", "signed", "unsigned"] = (
        "bipolar" if bipolar else "signed" if stream.dtype.signed() else "unsigned"
    )
    return Format(stream.shape, stream.dtype.bitwidth(), kind)


def slots(input_format: Format, output_octets: int, divisor: int, interval: int | None) -> int:
    """Number of frames that may be in flight.

    The input buffer holds two. More frames in flight hide the latency of a USB adapter. They are possible where the
    accelerator is faster than the line, and a result takes less time on the line than a frame even if every octet of
    the result is escaped. ``output_octets``: those of a frame of every output. ``interval``: cycles per frame, None
    where it is unknown.
    """
    line = (input_format.octets + MESSAGE_OCTETS) * OCTET_BITS * divisor
    results = 2 * output_octets + MESSAGE_OCTETS <= input_format.octets + MESSAGE_OCTETS
    return MANY if interval is not None and interval <= line and results else FEW


def check_inputs(names: Collection[str]) -> None:
    """Raise BitfabricError for names of inputs that a board's host link cannot carry."""
    if len(names) != 1:
        raise BitfabricError(
            f"the model has {len(names)} inputs ({', '.join(names)}), and the host link of a board carries one "
            "input; end with --stop-after simulate, or build for the board's device"
        )


def image(
    accelerator: RtlDesign, target: Target, clock_mhz: float, model_hash: int, interval: int | None = None
) -> Image:
    """The image of an accelerator with one input stream, at the fastest clock up to ``clock_mhz``.

    ``target`` must be a board. ``model_hash`` has 64 bits; the driver recognises the image by it. ``interval``: cycles
    per frame of the accelerator, where it is known. Raises BitfabricError where the design has more inputs, and
    UsageError where the PLL cannot make ``clock_mhz`` from the clock of the board.
    """
    check_inputs(accelerator.inputs)
    if not 0 <= model_hash < 1 << 64:
        raise ValueError("a model hash has 64 bits")
    board, family = target.board, target.device.family
    if board is None:
        raise ValueError(f"{target.name} is no board")
    pll = solve(board.clock.mhz, clock_mhz, target.device)
    baud, divisor = baud_rate(pll.mhz * 1e6, board.uart.max_baud)
    (entry,), results = accelerator.inputs.values(), list(accelerator.outputs.values())
    octets = sum(format_of(result).octets for result in results)
    parameters: dict[str, int | str] = {
        "DIVISOR": divisor,
        "IN_WIDTH": entry.width,
        "IN_BEATS": entry.beats,
        "OUTS": len(results),
        "OUT_WIDTH": _words([result.width for result in results]),
        "OUT_BEATS": _words([result.beats for result in results]),
        "OUT_BITS": sum(result.width for result in results),
        "MODEL": f"64'h{model_hash:016x}",
        "CLOCK_HZ": round(pll.mhz * 1e6),
        "SLOTS": slots(format_of(entry), octets, divisor, interval),
        "PARITY": int(accelerator.parity),
    }
    shell = files("hw.boards").joinpath("shell")
    sources = {f"{name}.sv": shell.joinpath(f"{name}.sv").read_text() for name in SHELL}
    model = f"{family.name}_pll.sv"
    sources |= {model: models(family)[model]} | accelerator.files
    sources[f"{TOP}.sv"] = _top(accelerator, target.device, board, pll, parameters)
    return Image(RtlDesign(TOP, {}, {}, sources), accelerator, board, _pins(board), pll, baud, divisor, model_hash)


def _words(numbers: list[int]) -> str:
    """A parameter of 32-bit words, the first in the low bits."""
    return "{" + ", ".join(f"32'd{number}" for number in reversed(numbers)) + "}"


def _top(accelerator: RtlDesign, device: Device, board: Board, pll: Pll, parameters: Mapping[str, int | str]) -> str:
    ((s, entry),) = accelerator.inputs.items()
    results, place = accelerator.outputs, 0
    connected: list[str] = []
    for index, (m, result) in enumerate(results.items()):
        connected += [f".{m}_valid(m_valid[{index}])", f".{m}_ready(m_ready[{index}])"]
        connected.append(f".{m}_data (m_data[{place + result.width - 1}:{place}])")
        place += result.width
    ports = ["input  wire logic clk_board", "input  wire logic uart_rx", "output      logic uart_tx"]
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
    outputs = ",\n      ".join(connected)
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

  logic s_valid, s_ready;
  logic [{entry.width - 1}:0] s_data;
  logic [{len(results) - 1}:0] m_valid, m_ready;
  logic [{place - 1}:0] m_data;
  logic parity_error, busy, faulty;
  bf_link #(
{settings}
  ) host (
      .clk,
      .rst,
      .rx(uart_rx),
      .tx(uart_tx),
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
      .{s}_valid(s_valid),
      .{s}_ready(s_ready),
      .{s}_data (s_data),
      {outputs}{parity_error}
  );
{tail}endmodule
"""


def _pins(board: Board) -> tuple[Pin, ...]:
    """The pin of each port of the image."""
    found = [
        Pin("clk_board", board.clock.pin, board.io, mhz=board.clock.mhz),
        Pin("uart_rx", board.uart.rx, board.io, "up"),
        Pin("uart_tx", board.uart.tx, board.io),
    ]
    if board.reset:
        found.append(Pin("reset", board.reset.pin, board.reset.io or board.io, board.reset.pull))
    found += [Pin(f"led[{i}]", pin, board.io) for i, pin in enumerate(board.leds)]
    found += [Pin(name, pin, board.io) for name, pin in board.high.items()]
    return tuple(found)
