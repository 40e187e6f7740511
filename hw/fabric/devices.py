"""What an FPGA device is."""

from dataclasses import dataclass

from hw.fabric.family import Family
from hw.fabric.pll import PllLimits
from hw.fabric.resources import Resources
from hw.host.errors import BitfabricError


@dataclass(frozen=True)
class Device:
    """One FPGA.

    Attributes:
        name: the name of the target, in lower case.
        family: the fabric.
        capacity: the resources of the device, counted as ``hw.synth.yosys`` counts those of a design.
        pll: the limits of its PLL; None: it has none that we can instantiate.
        part: the vendor's name of the device, where a cell has to state it.
        synthesis: arguments of the family's ``synth_`` command in Yosys for this device.
        nextpnr: arguments of nextpnr that select the die; empty: the device is for synthesis only.
        package: the package, where nextpnr has to know it.
        speed: the speed grade, where nextpnr has to know it.
        grade: the speed grade in the family's Fmax model, where it is not ``speed``.
        pack: arguments of the packer that select the die.
        clock_pin: the clock's pin in a design without pins, where nextpnr needs one.
        clock_mhz: the default clock, which designs of usual size reach.
    """

    name: str
    family: Family
    capacity: Resources
    pll: PllLimits | None = None
    part: str = ""
    synthesis: tuple[str, ...] = ()
    nextpnr: tuple[str, ...] = ()
    package: str = ""
    speed: str = ""
    grade: str = ""
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
        """Raises BitfabricError, with the excess of each resource, where ``used`` exceeds the device."""
        if over := self.overflow(used):
            raise BitfabricError(
                f"does not fit {self.name}: {over}; use less parallelism (a lower --fps) or a bigger device"
            )
