"""Place and route with nextpnr-himbaechel's 7 series and Project X-Ray, as openXC7 packages them. Experimental.

No package of Python's has these tools: they are programs on PATH. nextpnr writes FASM, a text of the features that are
on; ``fasm2frames`` makes configuration frames of it by the database of Project X-Ray, ``xc7frames2bit`` the bitstream.
The database is the folder ``PRJXRAY_DB_DIR``, or lies beside the programs, or in apio's folder of packages.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from shutil import which

from hw.fabric.devices import Device
from hw.fabric.resources import Resources
from hw.fabric.toolchain import Pin, Tool, Toolchain
from hw.families.xc7.readback import verify
from hw.host.errors import BitfabricError
from hw.native import process

ROUTER = Tool("nextpnr-himbaechel-xilinx", others=("nextpnr-himbaechel",))
FRAMES = Tool("fasm2frames", others=("fasm2frames.py",))
BITSTREAM = Tool("xc7frames2bit")
VARIABLE = "PRJXRAY_DB_DIR"
FAMILIES = {"xc7a": "artix7", "xc7z": "zynq7", "xc7k": "kintex7", "xc7s": "spartan7"}
"""Beginning of a part's name -> its folder in the database."""
BESIDE = ("share/nextpnr/prjxray-db", "share/prjxray-db", "opt/nextpnr-xilinx/external/prjxray-db", "prjxray-db")
"""Places of the database below the folder that has the programs' ``bin``."""
APIO = ".apio/packages"
WHERE = "github.com/openXC7 has the tools and the database"


def _xdc(pins: Iterable[Pin]) -> str:
    """The constraints, in the part of XDC that nextpnr reads."""
    pulls = {"up": "PULLUP", "down": "PULLDOWN", "none": "NONE"}
    lines = []
    for pin in pins:
        port = f"[get_ports {{{pin.port}}}]"
        lines += [f"set_property LOC {pin.site} {port}", f"set_property IOSTANDARD {pin.io} {port}"]
        if pin.pull:
            lines.append(f"set_property PULLTYPE {pulls[pin.pull]} {port}")
        if pin.mhz:
            lines.append(f"create_clock -period {1000 / pin.mhz:.3f} {port}")
    return "".join(f"{line}\n" for line in lines)


def _programs(tool: Tool) -> Iterator[Path]:
    """The paths of a tool on PATH, links followed too."""
    for name in (tool.name, *tool.others):
        if found := which(name):
            yield from dict.fromkeys((Path(found), Path(found).resolve()))


def _databases() -> Iterator[Path]:
    """Folders that may be the database."""
    if given := os.environ.get(VARIABLE):
        yield Path(given)
        return
    for tool in (FRAMES, BITSTREAM, ROUTER):
        for program in _programs(tool):
            yield from (program.parent.parent / place for place in BESIDE)
    packages = Path(os.environ.get("HOME", "/")) / APIO
    for depth in ("*/prjxray-db", "*/*/prjxray-db", "*/*/*/prjxray-db"):
        yield from sorted(packages.glob(depth))


def database(part: str) -> Path | None:
    """The folder of a part's family in the database; None where none has the part."""
    folder = FAMILIES.get(part[:4])
    found = (root / folder for root in _databases()) if folder else ()
    return next((each for each in found if (each / part / "part.yaml").is_file()), None)


@cache
def _has_7_series(router: str) -> bool:
    """Whether a nextpnr-himbaechel was built with 7 series: Gowin's is another program of the same name."""
    try:
        done = process.run([router, "--list-uarch"], timeout=60)
    except (BitfabricError, process.TimeoutExpired):
        return False
    return "xilinx" in f"{done.stdout}\n{done.stderr}".lower()


def missing(device: Device) -> str:
    """What is missing to make a bitstream for a device; "" where nothing is."""
    found = next(_programs(ROUTER), None)
    if found is None:
        return f"no {ROUTER.others[0]} on PATH; {WHERE}"
    if not _has_7_series(str(found)):
        return f"{found} was built without 7 series (--list-uarch does not name xilinx); {WHERE}"
    for tool in (FRAMES, BITSTREAM):
        if next(_programs(tool), None) is None:
            return f"no {tool.name} on PATH; {WHERE}"
    if database(device.part) is None:
        where = os.environ.get(VARIABLE) or "beside the programs"
        return f"no database of {device.part} in {where}: set {VARIABLE} to the folder that has artix7/; {WHERE}"
    return ""


def _packing(device: Device, fasm: str, bitstream: str) -> Sequence[tuple[Tool, Sequence[str]]]:
    """From FASM to frames, and from frames to the bitstream. Raises BitfabricError without a database."""
    root = database(device.part)
    if root is None:
        raise BitfabricError(missing(device))
    frames = f"{fasm}.frames"
    return (
        (FRAMES, ["--part", device.part, "--db-root", str(root), fasm, frames]),
        (BITSTREAM, ["--part_file", str(root / device.part / "part.yaml"), "--part_name", device.part,
                     "--frm_file", frames, "--output_file", bitstream]),
    )  # fmt: skip


TOOLCHAIN = Toolchain(
    router=ROUTER,
    packer=BITSTREAM,
    pins="xdc",
    pins_option=("-o", "xdc="),
    constrain=_xdc,
    configuration=("fasm", ("-o", "fasm=")),
    bitstream="bit",
    cells={
        "SLICE_LUTX": Resources(lut=1),
        "SLICE_FFX": Resources(ff=1),
        "RAMB18E1_RAMB18E1": Resources(bram=1),
    },
    pads=("IBUF", "OBUF"),
    simulates=False,
    packing=_packing,
    verify=verify,
    missing=missing,
)
