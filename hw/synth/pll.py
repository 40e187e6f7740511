"""The PLL of each family: its dividers for a clock, and its instance.

A reference divider and a feedback divider set the oscillator, an output divider the clock::

    f_vco = f_out * output        f_out = f_in * feedback / reference            (feedback from the output)
                                  f_out = f_in * feedback / reference / output   (feedback from the oscillator)

Limits are those of the data sheets (Lattice FPGA-DS-02012 and FPGA-TN-02052, Gowin UG286 and DS117); the attributes
beside the dividers are the analogue settings that Project Trellis, IceStorm and Apicula know.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from hw.fabric.family import Family
from hw.families.ecp5 import ECP5
from hw.families.gowin import GOWIN
from hw.families.ice40 import ICE40
from hw.host.errors import UsageError


@dataclass(frozen=True)
class Limits:
    """What a family's PLL can do. ``inner``: the feedback comes from the oscillator, not from the output."""

    vco_mhz: tuple[float, float]
    detector_mhz: tuple[float, float]
    output_mhz: tuple[float, float]
    references: range
    feedbacks: range
    outputs: tuple[int, ...]
    inner: bool = False


LIMITS = {
    ECP5: Limits((400, 800), (3.125, 400), (3.125, 400), range(1, 129), range(1, 81), tuple(range(1, 129))),
    ICE40: Limits((533, 1066), (10, 133), (16, 275), range(1, 17), range(1, 129), (2, 4, 8, 16, 32, 64), inner=True),
    GOWIN: Limits((400, 1200), (3, 400), (3.125, 600), range(1, 65), range(1, 65),
                  (2, 4, 8, *range(16, 129, 16))),
}  # fmt: skip


@dataclass(frozen=True)
class Pll:
    """Dividers of one clock. ``mhz`` is the frequency that they give."""

    family: Family
    reference: int
    feedback: int
    output: int
    in_mhz: float
    mhz: float

    @property
    def vco_mhz(self) -> float:
        """Frequency of the oscillator."""
        return self.mhz * self.output


def solve(in_mhz: float, mhz: float, family: Family = ECP5) -> Pll:
    """The PLL with the fastest clock up to ``mhz``, its oscillator nearest to the middle of its range.

    Raises UsageError where that is more than 15 % below ``mhz``.
    """
    limits = LIMITS[family]
    middle = sum(limits.vco_mhz) / 2
    found = [
        pll
        for pll in _settings(in_mhz, mhz, family, limits)
        if limits.output_mhz[0] <= pll.mhz <= limits.output_mhz[1]
        and limits.vco_mhz[0] <= pll.vco_mhz <= limits.vco_mhz[1]
        and limits.detector_mhz[0] <= in_mhz / pll.reference <= limits.detector_mhz[1]
    ]
    best = max(found, key=lambda pll: (pll.mhz, -abs(pll.vco_mhz - middle), -pll.reference), default=None)
    if best is None or best.mhz < 0.85 * mhz:
        span = f"{limits.output_mhz[0]:g} to {limits.output_mhz[1]:g} MHz"
        raise UsageError(f"no PLL setting for {mhz:g} MHz from {in_mhz:g} MHz; choose a --clock from {span}")
    return best


def _settings(in_mhz: float, mhz: float, family: Family, limits: Limits) -> Iterator[Pll]:
    """For every pair of the other dividers, the largest feedback divider that makes no more than ``mhz``, and no more
    than the oscillator can do."""
    for reference in limits.references:
        for output in limits.outputs:
            divided = reference * (output if limits.inner else 1)
            most = min(mhz, limits.output_mhz[1], limits.vco_mhz[1] / output)
            feedback = int(most * divided / in_mhz + 1e-9)
            if feedback in limits.feedbacks:
                yield Pll(family, reference, feedback, output, in_mhz, in_mhz * feedback / divided)


def instance(pll: Pll, clock_in: str, clock_out: str, locked: str) -> str:
    """SystemVerilog of the PLL."""
    return {ECP5: _ecp5, ICE40: _ice40, GOWIN: _gowin}[pll.family](pll, clock_in, clock_out, locked)


def _text(cell: str, parameters: dict[str, int | str], pins: dict[str, str], attributes: str = "") -> str:
    settings = ",\n".join(f"      .{key}({value})" for key, value in parameters.items())
    connect = ",\n".join(f"      .{key}({value})" for key, value in pins.items())
    return f"{attributes}  {cell} #(\n{settings}\n  ) pll (\n{connect}\n  );\n"


def _ecp5(pll: Pll, clock_in: str, clock_out: str, locked: str) -> str:
    parameters: dict[str, int | str] = {
        "PLLRST_ENA": '"DISABLED"',
        "INTFB_WAKE": '"DISABLED"',
        "STDBY_ENABLE": '"DISABLED"',
        "DPHASE_SOURCE": '"DISABLED"',
        "OUTDIVIDER_MUXA": '"DIVA"',
        "OUTDIVIDER_MUXB": '"DIVB"',
        "OUTDIVIDER_MUXC": '"DIVC"',
        "OUTDIVIDER_MUXD": '"DIVD"',
        "CLKI_DIV": pll.reference,
        "CLKFB_DIV": pll.feedback,
        "CLKOP_ENABLE": '"ENABLED"',
        "CLKOP_DIV": pll.output,
        "CLKOP_CPHASE": pll.output // 2 - 1 if pll.output > 1 else 0,
        "CLKOP_FPHASE": 0,
        "FEEDBK_PATH": '"CLKOP"',
    }
    pins = {
        "RST": "1'b0",
        "STDBY": "1'b0",
        "CLKI": clock_in,
        "CLKOP": clock_out,
        "CLKFB": clock_out,
        "PHASESEL0": "1'b0",
        "PHASESEL1": "1'b0",
        "PHASEDIR": "1'b1",
        "PHASESTEP": "1'b1",
        "PHASELOADREG": "1'b1",
        "PLLWAKESYNC": "1'b0",
        "ENCLKOP": "1'b0",
        "ENCLKOS": "1'b0",
        "ENCLKOS2": "1'b0",
        "ENCLKOS3": "1'b0",
        "CLKOS": "pll_unused[0]",
        "CLKOS2": "pll_unused[1]",
        "CLKOS3": "pll_unused[2]",
        "INTLOCK": "pll_unused[3]",
        "REFCLK": "pll_unused[4]",
        "CLKINTFB": "pll_unused[5]",
        "LOCK": locked,
    }
    attributes = (
        "  logic [5:0] pll_unused;\n"
        f'  (* FREQUENCY_PIN_CLKI="{pll.in_mhz:g}", FREQUENCY_PIN_CLKOP="{pll.mhz:g}", ICP_CURRENT="12", '
        'LPF_RESISTOR="8", MFG_ENABLE_FILTEROPAMP="1", MFG_GMCREF_SEL="2" *)\n'
    )
    return _text("EHXPLLL", parameters, pins, attributes)


def _ice40(pll: Pll, clock_in: str, clock_out: str, locked: str) -> str:
    """The PLL takes its clock from the pad beside it, so the board's clock has to be at that pin."""
    # The loop filter's range by the phase detector's frequency.
    detector = pll.in_mhz / pll.reference
    filter_range = 1 + sum(detector >= edge for edge in (17, 26, 44, 66, 101))
    parameters: dict[str, int | str] = {
        "FEEDBACK_PATH": '"SIMPLE"',
        "DIVR": f"4'd{pll.reference - 1}",
        "DIVF": f"7'd{pll.feedback - 1}",
        "DIVQ": f"3'd{pll.output.bit_length() - 1}",
        "FILTER_RANGE": f"3'd{filter_range}",
    }
    pins = {
        "PACKAGEPIN": clock_in,
        "PLLOUTGLOBAL": clock_out,
        "LOCK": locked,
        "RESETB": "1'b1",
        "BYPASS": "1'b0",
    }
    return _text("SB_PLL40_PAD", parameters, pins)


def _gowin(pll: Pll, clock_in: str, clock_out: str, locked: str) -> str:
    parameters: dict[str, int | str] = {
        "FCLKIN": f'"{pll.in_mhz:g}"',
        "DEVICE": '"GW1NR-9C"',
        "IDIV_SEL": pll.reference - 1,
        "FBDIV_SEL": pll.feedback - 1,
        "ODIV_SEL": pll.output,
        "DYN_IDIV_SEL": '"false"',
        "DYN_FBDIV_SEL": '"false"',
        "DYN_ODIV_SEL": '"false"',
        "CLKFB_SEL": '"internal"',
    }
    pins = {
        "CLKIN": clock_in,
        "CLKFB": "1'b0",
        "RESET": "1'b0",
        "RESET_P": "1'b0",
        "FBDSEL": "6'b0",
        "IDSEL": "6'b0",
        "ODSEL": "6'b0",
        "PSDA": "4'b0",
        "DUTYDA": "4'b0",
        "FDLY": "4'b0",
        "CLKOUT": clock_out,
        "LOCK": locked,
        "CLKOUTP": "pll_unused[0]",
        "CLKOUTD": "pll_unused[1]",
        "CLKOUTD3": "pll_unused[2]",
    }
    return _text("rPLL", parameters, pins, "  logic [2:0] pll_unused;\n")
