"""The frame rate that the host link of an image carries, before the image is made."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import gcd, sqrt

from hw.boards.image import format_of, payload_octets, receive_pace, receive_step, slots
from hw.boards.targets import Target
from hw.boards.transport import Transport
from hw.boards.transports import transport
from hw.host.protocol import line_octets
from hw.ir.stream import Stream
from hw.synth.pll import solve


@dataclass(frozen=True)
class LinkRate:
    """The limits of an image's frame rate.

    Attributes:
        transport: what carries the octets.
        clock_mhz: the clock that the PLL makes, at most the requested one.
        input_octets: mean octets on the line of a message with a frame of every input, with flags, CRC and escapes.
        output_octets: the same for a message with a frame of every output.
        receive_pace: cycles that the image needs for an octet that it receives.
        send_pace: cycles that it needs for one that it sends.
        slots: frames in flight.
        interval: cycles per frame of the accelerator in the steady state.
        latency: cycles from a frame's first beat to its last result.
    """

    transport: Transport
    clock_mhz: float
    input_octets: float
    output_octets: float
    receive_pace: float
    send_pace: float
    slots: int
    interval: int
    latency: int

    @property
    def input_cycles(self) -> float:
        """Clock cycles of a message with input frames on the line."""
        return max(self.receive_pace * self.input_octets, self._line(self.transport.receive_cycles, self.input_octets))

    @property
    def output_cycles(self) -> float:
        """Clock cycles of a message with output frames on the line."""
        return max(self._made_cycles, self._line(self.transport.send_cycles, self.output_octets))

    @property
    def _made_cycles(self) -> float:
        """Clock cycles in which the image makes a message with output frames. ``send_pace`` is that of their octets."""
        frame = line_octets(0, self.transport.escaped)
        around = max(self.transport.send_cycles, 8 / self.transport.step + 1, FRAMER_CYCLES)
        return around * frame + max(self.transport.send_cycles, self.send_pace) * (self.output_octets - frame)

    def _line(self, cycles: float, octets: float) -> float:
        """Clock cycles of a message with so many ``octets`` on the line, of ``cycles`` each in a stream."""
        datagrams = self.transport.datagrams
        return cycles * octets if datagrams is None else datagrams.line(octets)

    @property
    def cycles(self) -> float:
        """Clock cycles per frame of the link: those of its slower direction, of both where they share wires, or of a
        frame's way there and back where the frames in flight do not fill it.

        The host answers at once: the delays of its USB adapter and its operating system are not included.
        """
        there, back = self.input_cycles, self.output_cycles
        if (datagrams := self.transport.datagrams) is not None:
            there = datagrams.way_in(self.input_octets, self.receive_pace)
            back = datagrams.way_out(self.output_octets, self._made_cycles / self.output_octets)
        rest = self.latency + back + self.transport.turnaround
        received, sent = self.transport.bus or (0.0, 0.0)
        received, sent = received * self.input_octets, sent * self.output_octets
        cycles = max(self.input_cycles, self.output_cycles, received + sent, (there + rest) / self.slots)
        if not self.transport.buffered:
            return cycles
        # Replies take the share sent / cycles of what both directions share, so that frames arrive in
        # received / (1 - sent / cycles) cycles or more: slots * cycles is that and the rest.
        half = (sent + (received + rest) / self.slots) / 2
        return max(cycles, half + sqrt(half * half - sent * rest / self.slots))

    @property
    def fps(self) -> float:
        """Frames per second that the host link carries."""
        return self.clock_mhz * 1e6 / self.cycles

    @property
    def core_fps(self) -> float:
        """Frames per second that the accelerator computes at the clock of the image."""
        return self.clock_mhz * 1e6 / self.interval


FRAMER_CYCLES = 4
"""Least clock cycles in which the framer makes an octet."""


def send_pace(result: Stream, step: int) -> float:
    """Cycles in which the image makes an octet of a result: the framer's, and those of the output's buffer, which takes
    ``step`` bits in a cycle at most, and one more to load a beat."""
    bits = gcd(result.width, step)
    return max(FRAMER_CYCLES, 8 / step + 1, 8 / bits + 1 + 8 / result.width * max(1, 3 - result.width / bits))


def link_rate(
    target: Target,
    clock_mhz: float,
    entries: Sequence[Stream],
    results: Sequence[Stream],
    interval: int,
    latency: int,
) -> LinkRate:
    """The limits of the image for ``target``, which must be a board, with frames of these inputs and outputs.

    Raises UsageError where the PLL cannot make ``clock_mhz`` from the clock of the board, and where the clock is too
    slow for the board's link.
    """
    if target.board is None:
        raise ValueError(f"{target.name} is no board")
    mhz = solve(target.board.clock.mhz, clock_mhz, target.device).mhz
    link = transport(target.board, target.device, mhz * 1e6)
    in_octets, out_octets = (payload_octets(list(map(format_of, each))) for each in (entries, results))
    pace = receive_pace(receive_step(entries, link.step))
    return LinkRate(
        link,
        mhz,
        line_octets(in_octets),
        line_octets(out_octets, link.escaped),
        pace,
        max(map(partial(send_pace, step=link.step), results)),
        slots(in_octets, out_octets, max(link.receive_cycles, pace), interval),
        interval,
        latency,
    )
