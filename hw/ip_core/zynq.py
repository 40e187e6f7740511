"""The core in a Zynq: a block design for Vivado with a DMA, and a driver for PYNQ.

Both are for cores of one input and one output. Neither was run by us: there was no Vivado and no board. What can be is
tested: the module between DMA and core in simulation, the script with stubs for Vivado's commands, the driver's octets
against the golden frames of the testbench.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from math import lcm
from typing import Any

from hw.host.interface import Interface
from hw.ip_core.core import IpCore

LENGTH_BITS = 26
"""Bits of the DMA's length register: packets of up to 64 MiB."""
MOST_BETWEEN = 512
"""Octets that AMD's converter of stream widths holds: a multiple of both of its widths has to fit."""
FILES = {
    "vivado/zynq.tcl": "zynq.tcl.j2",
    "vivado/{name}_packets.v": "packets.v.j2",
    "zynq/run_{name}.py": "pynq_driver.py.j2",
}
"""File of a core -> its template."""


@dataclass(frozen=True)
class Zynq:
    """Octets of the streams of the DMA, to the core and from it."""

    dma_in: int
    dma_out: int


def fits(core: IpCore) -> bool:
    """Whether a core can stand in the block design: it has one input and one output."""
    return sorted(stream.entry for stream in core.streams) == [False, True]


def texts(core: IpCore, interface: Interface, given: Mapping[str, Any]) -> dict[str, str]:
    """File -> text of the script, the module between DMA and core, and the driver with the host's code.

    ``given`` are the facts for the templates, ``interface`` the model's frames and host steps.
    """
    entry, result = (next(s for s in core.streams if s.entry == which) for which in (True, False))
    zynq = Zynq(_dma_octets(entry.octets), _dma_octets(result.octets))
    more = dict(given) | {"zynq": zynq, "length_bits": LENGTH_BITS}
    found = {path.format(name=core.name): core.render(template, **more) for path, template in FILES.items()}
    host = (file for file in files("hw.host").iterdir() if file.name.endswith(".py") and file.name != "__main__.py")
    return found | {f"zynq/host/{file.name}": file.read_text(encoding="utf-8") for file in host}


def _dma_octets(octets: int) -> int:
    """The widest stream of a DMA, up to 64 bits, that AMD's converter turns into one of ``octets``."""
    return next(width for width in (8, 4, 2, 1) if lcm(width, octets) <= MOST_BETWEEN)
