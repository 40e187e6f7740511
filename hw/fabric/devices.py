"""Devices: the FPGAs of a family, with their resources and the options of their tools."""

from dataclasses import dataclass

from hw.fabric.energy import EnergyModel
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
        pll: the limits of its PLL; None: it has none that this flow can instantiate.
        part: the vendor's name of the device, where the parameters of a cell include it.
        synthesis: arguments of the family's ``synth_`` command in Yosys for this device.
        passes: a Yosys script in place of the family's; "": the family's.
        defines: macros for the sources in place of the family's; None: the family's.
        nextpnr: arguments of nextpnr that select the die; empty: the device is for synthesis only.
        package: the package, where nextpnr requires it.
        speed: the speed grade, where nextpnr requires it.
        grade: the speed grade in the family's Fmax model, where it is not ``speed``.
        pack: arguments of the packer that select the die.
        clock_pin: the pin of the clock in an out-of-context design, where nextpnr needs one.
        clock_mhz: the default clock, which designs of typical size reach.
        energy: the energy of its core; None: there are no public measurements from which to estimate it.
    """

    name: str
    family: Family
    capacity: Resources
    pll: PllLimits | None = None
    part: str = ""
    synthesis: tuple[str, ...] = ()
    passes: str = ""
    defines: tuple[str, ...] | None = None
    nextpnr: tuple[str, ...] = ()
    package: str = ""
    speed: str = ""
    grade: str = ""
    pack: tuple[str, ...] = ()
    clock_pin: str = ""
    clock_mhz: float = 100.0
    energy: EnergyModel | None = None

    @property
    def routable(self) -> bool:
        """Whether an open place-and-route tool supports the device."""
        return bool(self.nextpnr)

    def overflow(self, used: Resources) -> str | None:
        """The resources that ``used`` exceeds, as in ``"LUT 90000 of 83640 (6360 too many)"``; None if it fits."""
        over = [
            f"{name.upper()} {need} of {have} ({need - have} too many)"
            for name in ("lut", "ff", "bram", "dsp")
            if (need := getattr(used, name)) > (have := getattr(self.capacity, name))
        ]
        return ", ".join(over) or None

    def check_fit(self, used: Resources) -> None:
        """Raise BitfabricError, with the excess of each resource, if ``used`` exceeds the device."""
        if over := self.overflow(used):
            raise BitfabricError(
                f"does not fit {self.name}: {over}; use less parallelism (a lower --fps) or a bigger device"
            )
