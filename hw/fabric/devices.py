"""FPGA devices: what each holds, and the arguments that the place-and-route tool wants for it.

LUT and FF are counted as nextpnr counts them on ECP5 (``TRELLIS_COMB``, ``TRELLIS_FF``) and as Vivado's
utilisation report does on 7 series; BRAM are sysMEM blocks of 18 kbit or RAMB18; DSP are MULT18X18D or DSP48E1.
iCE40: a logic cell is one LUT and one FF, BRAM are blocks of 4 kbit, DSP are SB_MAC16; the UP5K's four single-port
RAMs are not used. Gowin: BRAM are blocks of 18 kbit, DSP multipliers of 9 by 9 bits (one of 18 by 18 takes two).
"""

from dataclasses import dataclass
from difflib import get_close_matches

from hw.fabric.family import ECP5, GOWIN, ICE40, XC7, Family
from hw.fabric.resources import Resources
from hw.host.errors import BitfabricError, UsageError


@dataclass(frozen=True)
class Device:
    """One FPGA. ``nextpnr`` are the arguments that select the die; none: the device is for synthesis only.

    ``package`` and ``speed`` are what the tool wants to know beside the die, ``pack`` what the packer does.
    ``clock_pin`` takes the clock of a design without pins, where the tool needs one. ``clock_mhz`` is a clock that
    designs of usual size reach.
    """

    name: str
    family: Family
    capacity: Resources
    nextpnr: tuple[str, ...] = ()
    package: str = ""
    speed: str = ""
    pack: tuple[str, ...] = ()
    clock_pin: str = ""
    clock_mhz: float = 100.0

    @property
    def routable(self) -> bool:
        """Whether there is an open place-and-route tool for it."""
        return bool(self.nextpnr)

    def overflow(self, used: Resources) -> str | None:
        """What does not fit, as ``"LUT 90000 of 83640 (6360 too many)"``, or None where everything fits."""
        over = [
            f"{name.upper()} {need} of {have} ({need - have} too many)"
            for name in ("lut", "ff", "bram", "dsp")
            if (need := getattr(used, name)) > (have := getattr(self.capacity, name))
        ]
        return ", ".join(over) or None

    def check_fit(self, used: Resources) -> None:
        """Raises BitfabricError, with by how much of each resource, where ``used`` exceeds the device."""
        if over := self.overflow(used):
            raise BitfabricError(
                f"does not fit {self.name}: {over}; use less parallelism (a lower --fps) or a bigger device"
            )


def _ecp5(die: str, lut: int, bram: int, dsp: int) -> Device:
    # The 12F is a 25F die sold as half of one: nextpnr would fill all of it, the data sheet promises this much.
    return Device(f"lfe5u-{die}f", ECP5, Resources(lut, lut, bram, dsp), (f"--{die}k",), "CABGA381", "6")


def _gowin(name: str, part: str, family: str, capacity: Resources, clock_pin: str) -> Device:
    options = ("--device", part, "--vopt", f"family={family}")
    return Device(name, GOWIN, capacity, options, pack=("-d", family), clock_pin=clock_pin, clock_mhz=75)


def _xc7(name: str, lut: int, ramb18: int, dsp: int) -> Device:
    return Device(name, XC7, Resources(lut, 2 * lut, ramb18, dsp))


DEVICES = {
    device.name: device
    for device in (
        _ecp5("12", 12144, 32, 28),
        _ecp5("25", 24288, 56, 28),
        _ecp5("45", 43848, 108, 72),
        _ecp5("85", 83640, 208, 156),
        Device("lfe5um5g-45f", ECP5, Resources(43848, 43848, 108, 72), ("--um5g-45k",), "CABGA381", "8"),
        Device("lfe5um5g-85f", ECP5, Resources(83640, 83640, 208, 156), ("--um5g-85k",), "CABGA381", "8"),
        Device("ice40up5k", ICE40, Resources(5280, 5280, 30, 8), ("--up5k",), "sg48", clock_pin="35", clock_mhz=40),
        _gowin("gw1nr-9c", "GW1NR-LV9QN88PC6/I5", "GW1N-9C", Resources(8640, 6480, 26, 40), "52"),
        _xc7("xc7z010", 17600, 120, 80),
        _xc7("xc7z020", 53200, 280, 220),
        _xc7("xc7z045", 218600, 1090, 900),
        _xc7("xc7a35t", 20800, 100, 90),
        _xc7("xc7a100t", 63400, 270, 240),
        _xc7("xc7a200t", 134600, 730, 740),
    )
}


def device(name: str) -> Device:
    """The device of that name. Raises UsageError with the nearest names."""
    found = DEVICES.get(name.lower())
    if found is None:
        raise unknown("device", name, DEVICES)
    return found


def unknown(what: str, name: str, known: dict[str, Device] | dict[str, str] | list[str]) -> BitfabricError:
    """The error for a name that is not in the list."""
    near = get_close_matches(name.lower(), list(known), 3, 0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
    return UsageError(f"no {what} {name!r}; {hint}")
