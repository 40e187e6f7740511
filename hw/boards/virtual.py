"""A virtual board: an image, as RTL or as a netlist, in simulation with a UART at its pins.

It is a transport like a serial port (``read``, ``write``, ``timeout``), so the driver runs on it as on the real board.
Time is simulated: a read ends when it has its octets, or when nothing moved on the line for ``timeout`` seconds of the
image's clock, ``patience`` clocks at most: a driver's timeout suits real boards, and a netlist is simulated slowly.
"""

import struct
import subprocess
from importlib.resources import files
from types import TracebackType

from hw.boards.image import Image
from hw.host.errors import BitfabricError
from hw.rtl.design import RtlDesign
from hw.simulation.verilator import executable

ALL = 0xFFFFFFFF


class VirtualBoard:
    """An image in simulation. ``design`` is its netlist; without it, its RTL is simulated.

    ``skew`` is the host's baud rate relative to the nominal one; ``patience`` must exceed the cycles of a frame. Use
    as a context manager, or ``close`` it.
    A netlist is built without the compiler's optimisation, which takes longer than a few frames' simulation.
    """

    def __init__(
        self, image: Image, design: RtlDesign | None = None, skew: float = 1.0, patience: int = 2_000_000
    ) -> None:
        harness = files("hw.boards").joinpath("virtual.cpp").read_text()
        release = f"top.reset = {int(image.board.reset.active == 'low')}" if image.board.reset else "(void)0"
        ports = f"#define CLOCK clk_board\n#define RX uart_rx\n#define TX uart_tx\n#define RELEASE {release}\n"
        self.image = image
        self.patience = patience
        self.timeout: float | None = 0.01
        self.clocks = 0
        self._received = bytearray()
        self._to_send = b""
        period = image.clock_mhz * 1e6 / image.baud / skew
        simulator = executable(design or image.design, harness, ports, ("-O0",) if design else ("-O1",)) / "sim"
        self._process = subprocess.Popen(
            [simulator, repr(period)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=simulator.parent
        )

    def __enter__(self) -> "VirtualBoard":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the simulation."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()

    def write(self, data: bytes) -> int:
        """Queue octets; they are sent while reading."""
        self._to_send += data
        return len(data)

    def read(self, size: int = 1) -> bytes:
        """Up to ``size`` octets: fewer when the line was quiet for ``timeout`` seconds."""
        if len(self._received) < size:
            self._run(size - len(self._received))
        data = bytes(self._received[:size])
        del self._received[:size]
        return data

    def exchange(self, data: bytes) -> bytes:
        """Send octets and collect all that comes back until the line is quiet for ``timeout`` seconds."""
        self.write(data)
        self._run(ALL)
        received, self._received = bytes(self._received), bytearray()
        return received

    def _run(self, want: int) -> None:
        patience = self.patience
        if self.timeout is not None:
            patience = min(patience, round(self.timeout * self.image.clock_mhz * 1e6))
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.write(struct.pack("<IIQ", len(self._to_send), want, patience) + self._to_send)
            stdin.flush()
            count, self.clocks = struct.unpack("<IQ", stdout.read(12))
        except (OSError, ValueError, struct.error):
            raise BitfabricError("the simulation of the board ended; run it again") from None
        self._to_send = b""
        self._received += stdout.read(count)
