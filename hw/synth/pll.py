"""PLL configuration: chooses the dividers for a clock frequency and writes the instance of the PLL."""

from collections.abc import Iterator

from hw.fabric.devices import Device
from hw.fabric.pll import Pll, PllLimits
from hw.families import spec_of
from hw.host.errors import BitfabricError, UsageError

LEAST_SHARE = 0.85
"""Minimum clock of a setting, as a fraction of the requested clock."""


def solve(in_mhz: float, mhz: float, device: Device) -> Pll:
    """The setting with the fastest output clock up to ``mhz``, from an input clock of ``in_mhz``.

    Among settings of equal clock, the one whose oscillator (VCO) is nearest to the middle of its range. Raises
    UsageError where the clock is more than 15 % below ``mhz``, and BitfabricError where the device has no PLL that this
    flow can instantiate.
    """
    if (limits := device.pll) is None:
        raise _no_pll(device)
    middle = sum(limits.vco_mhz) / 2
    found = [
        pll
        for pll in _settings(in_mhz, mhz, limits)
        if limits.output_mhz[0] <= pll.mhz <= limits.output_mhz[1]
        and limits.vco_mhz[0] <= pll.vco_mhz <= limits.vco_mhz[1]
        and limits.detector_mhz[0] <= in_mhz / pll.reference <= limits.detector_mhz[1]
    ]
    best = max(found, key=lambda pll: (pll.mhz, -abs(pll.vco_mhz - middle), -pll.reference), default=None)
    if best is None or best.mhz < LEAST_SHARE * mhz:
        span = f"{limits.output_mhz[0]:g} to {limits.output_mhz[1]:g} MHz"
        raise UsageError(f"no PLL setting for {mhz:g} MHz from {in_mhz:g} MHz; choose a --clock from {span}")
    return best


def _settings(in_mhz: float, mhz: float, limits: PllLimits) -> Iterator[Pll]:
    """One setting for each pair of reference and output dividers.

    It has the largest feedback divider whose clock exceeds neither ``mhz`` nor the range of the oscillator.
    """
    for reference in limits.references:
        for output in limits.outputs:
            divided = reference * (output if limits.inner else 1)
            most = min(mhz, limits.output_mhz[1], limits.vco_mhz[1] / output)
            feedback = int(most * divided / in_mhz + 1e-9)
            if feedback in limits.feedbacks:
                yield Pll(reference, feedback, output, in_mhz, in_mhz * feedback / divided)


def instance(pll: Pll, device: Device, clock_in: str, clock_out: str, locked: str) -> str:
    """The SystemVerilog instance of a PLL.

    ``clock_in``, ``clock_out`` and ``locked`` name the signals at its pins. Raises BitfabricError where the device has
    no PLL that this flow can instantiate.
    """
    if (write := spec_of(device.family).pll_cell) is None:
        raise _no_pll(device)
    cell = write(pll, device, clock_in, clock_out, locked)
    unused = f"  logic [{cell.unused - 1}:0] pll_unused;\n" if cell.unused else ""
    attributes = ", ".join(f'{key}="{value}"' for key, value in cell.attributes.items())
    parameters = ",\n".join(f"      .{key}({value})" for key, value in cell.parameters.items())
    pins = ",\n".join(f"      .{key}({value})" for key, value in cell.pins.items())
    marked = f"  (* {attributes} *)\n" if attributes else ""
    return f"{unused}{marked}  {cell.kind} #(\n{parameters}\n  ) pll (\n{pins}\n  );\n"


def _no_pll(device: Device) -> BitfabricError:
    return BitfabricError(f"{device.name} has no PLL that this flow can instantiate; build for another device")
