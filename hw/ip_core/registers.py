"""The registers of a core, behind AXI4-Lite: 32 bits each, at byte addresses."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hw.ip_core.streams import AxiStream

ADDRESS_BITS = 12
MAGIC = 0x42464950
"""What the first register holds: "BFIP"."""
MAP_VERSION = 1
"""Version of this map."""
RESET_CYCLES = 16
"""Cycles of a reset by register; that of ``aresetn`` should be as long."""
STREAMS, EACH = 0x100, 0x10
"""Address of the first stream's registers, and octets of each stream."""


@dataclass(frozen=True)
class Register:
    """A register.

    Attributes:
        address: its byte address.
        name: its name.
        access: "ro", or "w1" for bits that act where 1 is written.
        meaning: one sentence.
        value: what is read, in SystemVerilog.
    """

    address: int
    name: str
    access: Literal["ro", "w1"]
    meaning: str
    value: str

    def to_json(self) -> dict[str, Any]:
        """The register as the port document states it."""
        return {"address": self.address, "name": self.name, "access": self.access, "meaning": self.meaning}


def registers(streams: Sequence[AxiStream], model: int) -> list[Register]:
    """The map of a core with these streams; ``model`` is the hash of the model, 64 bits."""
    found = [
        Register(0x00, "magic", "ro", f"0x{MAGIC:08x}, the letters BFIP", f"32'h{MAGIC:08x}"),
        Register(0x04, "map_version", "ro", "version of this map", f"32'd{MAP_VERSION}"),
        Register(0x08, "model_low", "ro", "first 64 bits of the model's SHA-256, lower half",
                 f"32'h{model & 0xffffffff:08x}"),
        Register(0x0C, "model_high", "ro", "upper half", f"32'h{model >> 32:08x}"),
        Register(0x10, "status", "ro", "bit 0: a wrong TLAST was seen; bit 1: a wrong TKEEP; bit 2: a parity error; "
                 "bit 3: in reset; each until cleared", "{28'd0, rst, |parity_errors, |keep_errors, |last_errors}"),
        Register(0x14, "control", "w1", f"bit 0 clears the counters; bit 1 resets the accelerator for {RESET_CYCLES} "
                 "cycles", "32'd0"),
        Register(0x18, "cycles_low", "ro", "clock cycles since reset or clear, lower half; a read keeps the upper half "
                 "for cycles_high", "cycles[31:0]"),
        Register(0x1C, "cycles_high", "ro", "upper half, as of the last read of cycles_low", "cycles_kept"),
        Register(0x20, "last_errors", "ro", "beats with a wrong TLAST, all inputs together", "last_errors"),
        Register(0x24, "keep_errors", "ro", "beats with a wrong TKEEP, all inputs together", "keep_errors"),
        Register(0x28, "parity_errors", "ro", "cycles with a parity error of a memory; 0 without parity bits",
                 "parity_errors"),
        Register(0x2C, "streams", "ro", "bits 7..0: inputs; bits 15..8: outputs",
                 f"32'd{sum(s.entry for s in streams) | sum(not s.entry for s in streams) << 8}"),
    ]  # fmt: skip
    for index, stream in enumerate(streams):
        base = STREAMS + EACH * index
        found += [
            Register(base, f"{stream.name}_frames", "ro", f"whole frames that have passed {stream.name}",
                     f"{stream.name}_frames"),
            Register(base + 4, f"{stream.name}_stalls", "ro",
                     f"cycles in which {stream.name} had a beat that was not taken", f"{stream.name}_stalls"),
        ]  # fmt: skip
    return found
