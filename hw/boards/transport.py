"""The transport of an image: what carries the octets of the host link between the pins of a board and ``bf_link``."""

from dataclasses import dataclass, field, replace
from math import ceil, floor

from hw.fabric.toolchain import Pin
from hw.host.protocol import ESCAPED

DATAGRAM, WRAPPING, SHORTEST = 1024, 66, 84
"""Octets of the longest datagram; what the line carries with each one, from the preamble to the gap behind it; and
those of the shortest frame with these."""


@dataclass(frozen=True)
class Datagrams:
    """Datagrams of at most DATAGRAM octets, each of which is taken when it has arrived as a whole, and sent when it is
    complete. ``cycle``: clock cycles of an octet on the line; ``buffer``: octets that may wait for the image."""

    cycle: float
    buffer: int

    def line(self, octets: float) -> float:
        """Clock cycles of the line for the datagrams of a message with so many ``octets``."""
        whole, rest = divmod(octets, DATAGRAM)
        return whole * self._one(DATAGRAM) + (self._one(rest) if rest else 0)

    def way_in(self, octets: float, pace: float) -> float:
        """Clock cycles from a message's first octet on the line until the image has it, at ``pace`` cycles an octet."""
        whole, last = self._ends(octets)
        return max(self._one(whole) + pace * (octets - 1), self.line(octets) + pace * (last - 1))

    def way_out(self, octets: float, pace: float) -> float:
        """Clock cycles from a message's first octet that the image makes, at ``pace`` each, to its last on the line."""
        whole, last = self._ends(octets)
        return max(pace * octets + self._one(last), pace * whole + self.line(octets))

    @staticmethod
    def _ends(octets: float) -> tuple[float, float]:
        """The octets of the first and of the last datagram."""
        return min(octets, DATAGRAM), octets % DATAGRAM or DATAGRAM

    def _one(self, octets: float) -> float:
        return max(octets + WRAPPING, SHORTEST) * self.cycle


@dataclass(frozen=True)
class Transport:
    """The transport of an image.

    Attributes:
        kind: the field of the board file.
        title: what it is, with its rate, for people.
        modules: its modules in ``shell``.
        ports: the declaration of each of its ports, and the pins.
        body: SystemVerilog of its instances.
        step: bits of an octet that the link takes in a cycle, as fast as the transport needs it.
        receive_cycles: clock cycles in which an octet arrives.
        send_cycles: clock cycles in which an octet is sent.
        settings: what the host must know to open it.
        period: nanoseconds of a bit of the host's serial line, or of a period of the clock that the host gives; 0: it
            gives none.
        fill: it sends octets where there is nothing to send, and messages escape these.
        bus: clock cycles that an octet received, and one sent, keep what both directions share; None: they share
            nothing.
        buffered: octets of both directions share it in turn, and buffers are between it and the image.
        turnaround: clock cycles that a frame's way there and back waits, on average, for the host's next octets.
        models: files of models of the family's cells that it instantiates.
        datagrams: the datagrams that carry octets; None: it is a stream.
        constants: what the model of the host knows of the board, by the names that it has there.
    """

    kind: str
    title: str
    modules: tuple[str, ...]
    ports: tuple[tuple[str, tuple[Pin, ...]], ...]
    body: str
    step: int
    receive_cycles: float
    send_cycles: float
    settings: dict[str, int | str | None]
    period: float = 0.0
    fill: bool = False
    bus: tuple[float, float] | None = None
    buffered: bool = False
    turnaround: float = 0.0
    models: tuple[str, ...] = ()
    datagrams: Datagrams | None = None
    constants: dict[str, int] = field(default_factory=dict)

    def paced(self, cycles: float, clock_hz: float) -> "Transport":
        """This transport in an image that takes an octet in so many cycles of its clock: a host that sends datagrams
        must not be faster, as no one else slows it down."""
        if self.datagrams is None:
            return self
        rate = floor(clock_hz / cycles)
        known = {"BOARD_BUFFER": self.datagrams.buffer, "BOARD_OCTET_PS": ceil(1e12 / rate)}
        return replace(self, settings=self.settings | {"rate": rate}, constants=self.constants | known)

    @property
    def escaped(self) -> float:
        """Share of octets of a reply that are sent as two, where all values are equally frequent."""
        return ESCAPED + (1 / 256 if self.fill else 0)

    @property
    def baud(self) -> int | None:
        """The baud rate of a serial port; None for other transports."""
        baud = self.settings.get("baud")
        return baud if isinstance(baud, int) else None
