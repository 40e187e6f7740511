"""A virtual board: Verilator simulates an image (its RTL or its netlist), with a model of the host at its link's pins.

It has the interface of a serial port (``read``, ``write``, ``timeout``), so the host driver runs on it unchanged. Time
is simulated time: a read ends when it has received its bytes, or when the line has been idle for ``timeout`` seconds of
the image's clock. The idle time is limited to ``patience`` clock cycles, because the drivers' timeouts are chosen for
real boards and a netlist simulates slowly.
"""

import struct
from collections.abc import Iterator, Sequence
from importlib.resources import files
from types import TracebackType

from hw.boards.image import Image
from hw.host.errors import BitfabricError
from hw.native.process import PIPE, Process
from hw.rtl.design import RtlDesign
from hw.simulation.verilator import executable

ALL = 0xFFFFFFFF


class VirtualBoard:
    """A simulated image. Use it as a context manager, or call ``close``.

    The C++ model of a netlist is compiled without optimisation, because optimising it takes longer than it saves in the
    simulation of a few frames.

    Args:
        image: the image.
        design: the netlist of the image, as a design; None simulates the image's RTL.
        skew: clock of the host, relative to the nominal one.
        patience: longest idle time of the line during a read, in clock cycles; more than a frame's cycles.
    """

    def __init__(
        self, image: Image, design: RtlDesign | None = None, skew: float = 1.0, patience: int = 2_000_000
    ) -> None:
        harness = files("hw.boards").joinpath("virtual.cpp").read_text()
        release = f"top.reset = {int(image.board.reset.active == 'low')}" if image.board.reset else "(void)0"
        host = files("hw.boards").joinpath(f"virtual_{image.transport.kind}.hpp").read_text()
        known = "".join(f"#define {name} {value:#x}ull\n" for name, value in image.transport.constants.items())
        ports = f"#define CLOCK clk_board\n#define RELEASE {release}\n{known}{host}"
        self.image = image
        self.patience = patience
        self.timeout: float | None = 0.01
        self.clocks = 0
        self._received = bytearray()
        self._to_send = b""
        self._datagrams = image.transport.datagrams is not None
        periods = (1000 / image.clock_mhz, image.transport.period / skew)
        simulator = executable(design or image.design, harness, ports, ("-O0",) if design else ("-O1",)) / "sim"
        self._process = Process([simulator, *map(repr, periods)], stdin=PIPE, stdout=PIPE, cwd=simulator.parent)

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
        """Queue bytes; the next ``read`` or ``exchange`` sends them, as a datagram of their own where the link has
        datagrams. Returns their number."""
        self._to_send += len(data).to_bytes(2, "little") + data if self._datagrams else data
        return len(data)

    def read(self, size: int = 1) -> bytes:
        """Read ``size`` bytes, or fewer if the line is idle for ``timeout`` seconds.

        Raises BitfabricError where the simulation has ended.
        """
        if len(self._received) < size:
            self._run(size - len(self._received))
        data = bytes(self._received[:size])
        del self._received[:size]
        return data

    def clock(self) -> float:
        """Simulated seconds, by which a session measures its time limits."""
        return self.clocks / (self.image.clock_mhz * 1e6)

    def exchange(self, data: bytes) -> bytes:
        """Send ``data`` and return all bytes received until the line is idle for ``timeout`` seconds."""
        self.write(data)
        self._run(ALL)
        received, self._received = bytes(self._received), bytearray()
        return received

    def exchange_datagrams(self, datagrams: Sequence[bytes]) -> list[bytes]:
        """``exchange`` over a link that has datagrams."""
        for datagram in datagrams:
            self.write(datagram)
        received = self._run(ALL)
        self._received.clear()
        return received

    def _run(self, want: int) -> list[bytes]:
        """Send the queued bytes and simulate until ``want`` bytes have arrived or the line has been idle too long;
        returns them, as the datagrams that they arrived in."""
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
        octets = stdout.read(count)
        found = list(_datagrams(octets)) if self._datagrams else [octets]
        self._received += b"".join(found)
        return found


def _datagrams(octets: bytes) -> Iterator[bytes]:
    """The datagrams in octets, with the length before each (2)."""
    start = 0
    while start < len(octets):
        end = start + 2 + int.from_bytes(octets[start : start + 2], "little")
        yield octets[start + 2 : end]
        start = end
