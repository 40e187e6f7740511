"""The PLL of a device: its limits, a setting of its dividers, and its cell.

The reference divider and the feedback divider set the frequency of the oscillator (VCO), the output divider that of the
output clock::

    f_vco = f_out * output        f_out = f_in * feedback / reference            (feedback from the output)
                                  f_out = f_in * feedback / reference / output   (feedback from the oscillator)
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class PllLimits:
    """The limits of a PLL.

    Attributes:
        vco_mhz: range of the oscillator.
        detector_mhz: range of the phase detector, which sees the input clock behind the reference divider.
        output_mhz: range of the output clock.
        references: values of the reference divider.
        feedbacks: values of the feedback divider.
        outputs: values of the output divider.
        inner: the feedback comes from the oscillator, not from the output.
        input_mhz: range of the input clock.
    """

    vco_mhz: tuple[float, float]
    detector_mhz: tuple[float, float]
    output_mhz: tuple[float, float]
    references: range
    feedbacks: range
    outputs: tuple[int, ...]
    inner: bool = False
    input_mhz: tuple[float, float] = (0, math.inf)


@dataclass(frozen=True)
class Pll:
    """The dividers of a PLL for one clock.

    Attributes:
        reference: value of the reference divider.
        feedback: value of the feedback divider.
        output: value of the output divider.
        in_mhz: the input clock.
        mhz: the resulting output clock.
    """

    reference: int
    feedback: int
    output: int
    in_mhz: float
    mhz: float

    @property
    def vco_mhz(self) -> float:
        """Frequency of the oscillator."""
        return self.mhz * self.output


@dataclass(frozen=True)
class PllCell:
    """The cell of a PLL, as SystemVerilog instantiates it.

    Attributes:
        kind: name of the cell.
        parameters: parameter -> value.
        pins: pin -> expression. Unused outputs are connected to bits of ``pll_unused``.
        unused: width of ``pll_unused``.
        attributes: attribute -> string.
    """

    kind: str
    parameters: Mapping[str, int | str]
    pins: Mapping[str, str]
    unused: int = 0
    attributes: Mapping[str, str] = field(default_factory=dict)
