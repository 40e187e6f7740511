"""Transports of the host link: what carries its octets between the pins of a board and the image.

Every transport has the same ports towards ``bf_link``: ``rx_valid``, ``rx_ready``, ``rx_data`` and ``rx_error`` for
octets of the host, ``tx_valid``, ``tx_ready`` and ``tx_data`` for octets to it.
"""

from dataclasses import dataclass

from hw.boards.targets import Board
from hw.fabric.toolchain import Pin
from hw.host.errors import UsageError

BAUDS = (3_000_000, 2_000_000, 1_500_000, 1_000_000, 921_600, 460_800, 230_400, 115_200)
"""Baud rates that serial adapters support."""
BAUD_ERROR = 0.015
"""Maximum relative error of the baud rate that a receiver tolerates."""
MIN_DIVISOR = 8
"""Minimum clock cycles per bit that the receiver needs."""
OCTET_BITS = 10
"""Bits of an octet on a serial line, including start and stop bit."""


@dataclass(frozen=True)
class Transport:
    """The transport of an image.

    Attributes:
        kind: the field of the board file.
        title: what it is, with its rate, for people.
        modules: its modules in ``shell``.
        ports: the pin of each of its ports, and the port's declaration.
        body: SystemVerilog of its instances.
        step: bits of an octet that the link takes in a cycle, as fast as the transport needs it.
        receive_cycles: clock cycles in which an octet arrives.
        send_cycles: clock cycles in which an octet is sent.
        settings: what the host must know to open it.
    """

    kind: str
    title: str
    modules: tuple[str, ...]
    ports: tuple[tuple[str, Pin], ...]
    body: str
    step: int
    receive_cycles: float
    send_cycles: float
    settings: dict[str, int | str | None]

    @property
    def baud(self) -> int | None:
        """The baud rate of a serial port; None for other transports."""
        baud = self.settings.get("baud")
        return baud if isinstance(baud, int) else None


def transport(board: Board, clock_hz: float) -> Transport:
    """The transport that a board's file chooses, in an image with this clock.

    Raises UsageError where the clock is too slow for it.
    """
    return _uart(board, clock_hz)


def baud_rate(clock_hz: float, max_baud: int) -> tuple[int, int]:
    """The fastest baud rate of BAUDS up to ``max_baud``, with a divisor that is within BAUD_ERROR; returns both.

    Raises UsageError where there is none.
    """
    for baud in BAUDS:
        divisor = round(clock_hz / baud)
        if baud <= max_baud and divisor >= MIN_DIVISOR and abs(clock_hz / divisor / baud - 1) < BAUD_ERROR:
            return baud, divisor
    raise UsageError(f"no baud rate up to {max_baud} from a clock of {clock_hz / 1e6:g} MHz; raise --clock")


def _uart(board: Board, clock_hz: float) -> Transport:
    uart = board.uart
    baud, divisor = baud_rate(clock_hz, uart.max_baud)
    return Transport(
        "uart",
        f"{baud:,} baud",
        ("bf_uart_rx", "bf_uart_tx"),
        (
            ("input  wire logic uart_rx", Pin("uart_rx", uart.rx, board.io, "up")),
            ("output      logic uart_tx", Pin("uart_tx", uart.tx, board.io)),
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
    )
