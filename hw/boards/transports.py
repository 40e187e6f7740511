"""Transports of the host link: what carries its octets between the pins of a board and the image.

Every transport has the same ports towards ``bf_link``: ``rx_valid``, ``rx_ready``, ``rx_data`` and ``rx_error`` for
octets of the host, ``tx_valid``, ``tx_ready`` and ``tx_data`` for octets to it.
"""

from math import ceil

from hw.boards.ethernet import ethernet
from hw.boards.targets import SLOWEST_BAUD, Board, Ethernet, Fifo, Spi, Uart
from hw.boards.transport import Transport
from hw.fabric.devices import Device
from hw.fabric.toolchain import Pin
from hw.families import spec_of
from hw.host.errors import UsageError
from hw.host.protocol import FILL as FILL_OCTET

BAUDS = (3_000_000, 2_000_000, 1_500_000, 1_000_000, 921_600, 460_800, 230_400, SLOWEST_BAUD)
"""Baud rates that serial adapters support."""
BAUD_ERROR = 0.015
"""Maximum relative error of the baud rate that a receiver tolerates."""
MIN_DIVISOR = 8
"""Minimum clock cycles per bit that the receiver needs."""
OCTET_BITS = 10
"""Bits of an octet on a serial line, including start and stop bit."""
SPI_CYCLES = 11
"""Least clock cycles of an octet of SPI: the image takes one in 10, and the master's clock may be too fast."""
SPI_TURNAROUND, SPI_INSIDE = 2.5, 44
"""Octets of SPI that a frame's way there and back waits for, and clock cycles that it takes in the image where these
are more, measured on the virtual board: a reply begins with the octet after the next, the next frame with the next."""
FIFO_LOW_NS, FIFO_HIGH_NS = 40, 30
"""How long RD# and WR# are low, which includes the time to valid data; how long after them RXF# and TXE# are not yet
valid. From FTDI's data sheet of the FT232H, with some nanoseconds for pads and wires."""
FIFO_BUSY_NS = 49
"""How long the chip keeps RXF# or TXE# high after an octet, at least."""
CLKOUT_HZ = 60e6
"""The clock of the FT232H in synchronous FIFO mode."""
USB_HZ = 40e6
"""Octets in a second that the FT232H carries, of both directions together."""
FIFO_SYNC_TURNAROUND, FIFO_SYNC_INSIDE = 13, 8
"""Cycles of CLKOUT, and of the image's clock, that a frame's way there and back takes beside its octets in synchronous
FIFO mode, measured on the virtual board."""
STROBE_NS, QUIET_NS = 260, 500
"""How long SIWU# is low, and how long after the last octet; CLKOUT may be 1 % faster than it is."""
SYNCHRONISER = 3
"""Clock cycles after which a pin's level has passed a synchroniser."""


def transport(board: Board, device: Device, clock_hz: float) -> Transport:
    """The transport that a board's file chooses, in an image with this clock.

    Raises UsageError where the clock is too slow for it, and where the device has no pads for it.
    """
    link = board.chosen_link
    if isinstance(link, Spi):
        return _spi(link, board.io, clock_hz)
    if isinstance(link, Fifo):
        if (pad := spec_of(device.family).pad) is None:
            raise UsageError(
                f"no bidirectional pad of a {device.name} is known here, which 'fifo' needs; use 'uart' or 'spi'"
            )
        make = _fifo_sync if link.mode == "synchronous" else _fifo
        return make(link, board.io, pad, clock_hz)
    if isinstance(link, Ethernet):
        return ethernet(link, board.io, device, clock_hz)
    return _uart(link, board.io, clock_hz)


def baud_rate(clock_hz: float, max_baud: int) -> tuple[int, int]:
    """The fastest baud rate of BAUDS up to ``max_baud``, with a divisor that is within BAUD_ERROR; returns both.

    Raises UsageError where there is none.
    """
    for baud in BAUDS:
        divisor = round(clock_hz / baud)
        if baud <= max_baud and divisor >= MIN_DIVISOR and abs(clock_hz / divisor / baud - 1) < BAUD_ERROR:
            return baud, divisor
    raise UsageError(f"no baud rate up to {max_baud} from a clock of {clock_hz / 1e6:g} MHz; raise --clock")


def _uart(uart: Uart, io: str, clock_hz: float) -> Transport:
    baud, divisor = baud_rate(clock_hz, uart.max_baud)
    return Transport(
        "uart",
        f"{baud:,} baud",
        ("bf_uart_rx", "bf_uart_tx"),
        (
            ("input  wire logic uart_rx", (Pin("uart_rx", uart.rx, io, "up"),)),
            ("output      logic uart_tx", (Pin("uart_tx", uart.tx, io),)),
        ),
        f"""\
  bf_uart_rx #(
      .DIVISOR({divisor})
  ) receiver (
      .clk,
      .rst,
      .rx   (uart_rx),
      .valid(rx_valid),
      .data (rx_data),
      .error(rx_error)
  );
  bf_uart_tx #(
      .DIVISOR({divisor})
  ) transmitter (
      .clk,
      .rst,
      .valid(tx_valid),
      .ready(tx_ready),
      .data (tx_data),
      .tx   (uart_tx)
  );
""",
        1,
        OCTET_BITS * clock_hz / baud,
        OCTET_BITS * divisor + 1,
        {"baud": baud, "usb": uart.usb},
        1e9 / baud,
    )


def _spi(spi: Spi, io: str, clock_hz: float) -> Transport:
    hertz = int(min(spi.max_mhz * 1e6, 8 * clock_hz / SPI_CYCLES))
    cycles = 8 * clock_hz / hertz
    return Transport(
        "spi",
        f"{hertz / 1e6:g} MHz of SPI",
        ("bf_spi", "bf_crossing", "bf_reset_crossing"),
        (
            ("input  wire logic spi_sck", (Pin("spi_sck", spi.sck, io, "down", hertz / 1e6),)),
            ("input  wire logic spi_mosi", (Pin("spi_mosi", spi.mosi, io, "down"),)),
            ("output      logic spi_miso", (Pin("spi_miso", spi.miso, io),)),
            ("input  wire logic spi_cs", (Pin("spi_cs", spi.cs, io, "up"),)),
        ),
        f"""\
  assign rx_error = 1'b0;
  bf_spi #(
      .FILL(8'h{FILL_OCTET:02x})
  ) port (
      .clk,
      .rst,
      .sck (spi_sck),
      .mosi(spi_mosi),
      .miso(spi_miso),
      .cs_n(spi_cs),
      .rx_valid,
      .rx_ready,
      .rx_data,
      .tx_valid,
      .tx_ready,
      .tx_data
  );
""",
        1,
        cycles,
        cycles,
        {"hz": hertz},
        1e9 / hertz,
        fill=True,
        turnaround=max(SPI_TURNAROUND * cycles, SPI_INSIDE),
    )


def _fifo(fifo: Fifo, io: str, pad: str, clock_hz: float) -> Transport:
    cycle = 1e9 / clock_hz
    low, high = ceil(FIFO_LOW_NS / cycle), ceil(FIFO_HIGH_NS / cycle) + SYNCHRONISER
    # The chip is busy from the end of RD# or WR# on, and what it says then passes the synchroniser.
    received = low + 1 + max(high, ceil(FIFO_BUSY_NS / cycle) + SYNCHRONISER)
    return Transport(
        "fifo",
        f"{clock_hz / received / 1e6:.1f} MB/s of an FT232H",
        ("bf_fifo245",),
        _fifo_ports(fifo, io),
        f"""\
{_bus(pad)}  bf_fifo245 #(
      .HOLD({low}),
      .REST({high})
  ) port (
      .clk,
      .rst,
      .rxf_n(fifo_rxf),
      .txe_n(fifo_txe),
      .rd_n (fifo_rd),
      .wr_n (fifo_wr),
      .drive(fifo_drive),
      .d_out(fifo_out),
      .d_in (fifo_in),
      .rx_valid,
      .rx_ready,
      .rx_data,
      .tx_valid,
      .tx_ready,
      .tx_data
  );
""",
        8,
        received,
        received + 2,
        {"usb": fifo.usb},
        bus=(low + high + 1, low + high + 3),
        models=("bidirectional_pad.sv",),
    )


def _fifo_sync(fifo: Fifo, io: str, pad: str, clock_hz: float) -> Transport:
    assert fifo.clkout is not None
    assert fifo.oe is not None
    assert fifo.siwu is not None
    cycles = clock_hz / USB_HZ
    return Transport(
        "fifo_sync",
        f"{USB_HZ / 1e6:g} MB/s of an FT232H in synchronous mode",
        ("bf_fifo_sync", "bf_send_immediate", "bf_crossing", "bf_reset_crossing"),
        (
            *_fifo_ports(fifo, io),
            ("input  wire logic fifo_clkout", (Pin("fifo_clkout", fifo.clkout, io, mhz=CLKOUT_HZ / 1e6),)),
            ("output      logic fifo_oe", (Pin("fifo_oe", fifo.oe, io),)),
            ("output      logic fifo_siwu", (Pin("fifo_siwu", fifo.siwu, io),)),
        ),
        f"""\
{_bus(pad)}  bf_fifo_sync #(
      .QUIET({ceil(QUIET_NS * CLKOUT_HZ / 1e9)}),
      .PULSE({ceil(STROBE_NS * CLKOUT_HZ / 1e9)})
  ) port (
      .clk,
      .rst,
      .clkout(fifo_clkout),
      .rxf_n (fifo_rxf),
      .txe_n (fifo_txe),
      .oe_n  (fifo_oe),
      .rd_n  (fifo_rd),
      .wr_n  (fifo_wr),
      .siwu_n(fifo_siwu),
      .drive (fifo_drive),
      .d_out (fifo_out),
      .d_in  (fifo_in),
      .rx_valid,
      .rx_ready,
      .rx_data,
      .tx_valid,
      .tx_ready,
      .tx_data
  );
""",
        8,
        cycles,
        cycles,
        {"usb": fifo.usb},
        1e9 / CLKOUT_HZ,
        bus=(cycles, cycles),
        buffered=True,
        turnaround=FIFO_SYNC_TURNAROUND * clock_hz / CLKOUT_HZ + FIFO_SYNC_INSIDE,
        models=("bidirectional_pad.sv",),
    )


def _fifo_ports(fifo: Fifo, io: str) -> tuple[tuple[str, tuple[Pin, ...]], ...]:
    """The ports that both modes of the FIFO have."""
    return (
        ("inout  wire logic [7:0] fifo_d", tuple(Pin(f"fifo_d[{i}]", pin, io) for i, pin in enumerate(fifo.data))),
        ("input  wire logic fifo_rxf", (Pin("fifo_rxf", fifo.rxf, io, "up"),)),
        ("input  wire logic fifo_txe", (Pin("fifo_txe", fifo.txe, io, "up"),)),
        ("output      logic fifo_rd", (Pin("fifo_rd", fifo.rd, io),)),
        ("output      logic fifo_wr", (Pin("fifo_wr", fifo.wr, io),)),
    )


def _bus(pad: str) -> str:
    """The pads of the FIFO's bus, ``fifo_in``, and ``fifo_out`` which ``fifo_drive`` drives; no octet is lost on it."""
    names = {each: f"fifo_{each}[{{0}}]" for each in ("d", "out", "in")}
    line = "  " + pad.format(name="pad{0}", pin=names["d"], out=names["out"], drive="fifo_drive", into=names["in"])
    pads = "".join(line.format(i) + "\n" for i in range(8))
    return f"""\
  logic fifo_drive;
  logic [7:0] fifo_out, fifo_in;
{pads}  assign rx_error = 1'b0;
"""
