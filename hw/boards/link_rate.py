"""The frame rate that the host link of an image carries, before the image is made."""

from dataclasses import dataclass

from hw.boards.image import OCTET_BITS, baud_rate, slots
from hw.boards.targets import Target
from hw.host.packing import Format
from hw.host.protocol import line_octets
from hw.synth.pll import solve


@dataclass(frozen=True)
class LinkRate:
    """The limits of an image's frame rate.

    Attributes:
        baud: the baud rate of the host.
        divisor: clocks per bit of the image's UART.
        clock_mhz: the clock that the PLL makes, at most the requested one.
        input_octets: mean octets on the line of a message with an input frame, with flags, CRC and escapes.
        output_octets: the same for a message with an output frame.
        slots: frames in flight.
        interval: cycles per frame of the accelerator in the steady state.
        latency: cycles from a frame's first beat to its last result.
    """

    baud: int
    divisor: int
    clock_mhz: float
    input_octets: float
    output_octets: float
    slots: int
    interval: int
    latency: int

    @property
    def input_cycles(self) -> float:
        """Clock cycles of an input frame on the line."""
        return OCTET_BITS * self.clock_mhz * 1e6 / self.baud * self.input_octets

    @property
    def output_cycles(self) -> float:
        """Clock cycles of an output frame on the line; the transmitter takes each octet in one more cycle."""
        return (OCTET_BITS * self.divisor + 1) * self.output_octets

    @property
    def cycles(self) -> float:
        """Clock cycles per frame of the link: those of its slower direction, or of a frame's way there and back where
        the frames in flight do not fill it.

        The host answers at once: the delays of its USB adapter and its operating system are not included.
        """
        way = self.input_cycles + self.latency + self.output_cycles
        return max(self.input_cycles, self.output_cycles, way / self.slots)

    @property
    def fps(self) -> float:
        """Frames per second that the host link carries."""
        return self.clock_mhz * 1e6 / self.cycles

    @property
    def core_fps(self) -> float:
        """Frames per second that the accelerator computes at the clock of the image."""
        return self.clock_mhz * 1e6 / self.interval


def link_rate(
    target: Target, clock_mhz: float, input_format: Format, output_octets: int, interval: int, latency: int
) -> LinkRate:
    """The limits of the image for ``target``, which must be a board, with these frames on its link. A result has
    ``output_octets``, those of a frame of every output.

    Raises UsageError where the PLL cannot make ``clock_mhz`` from the clock of the board.
    """
    if target.board is None:
        raise ValueError(f"{target.name} is no board")
    mhz = solve(target.board.clock.mhz, clock_mhz, target.device).mhz
    baud, divisor = baud_rate(mhz * 1e6, target.board.uart.max_baud)
    return LinkRate(
        baud,
        divisor,
        mhz,
        line_octets(input_format.octets),
        line_octets(output_octets),
        slots(input_format, output_octets, divisor, interval),
        interval,
        latency,
    )
