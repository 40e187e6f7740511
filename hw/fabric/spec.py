"""All that is known of one FPGA family."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources.abc import Traversable

from hw.fabric.cells import CellDialect
from hw.fabric.devices import Device
from hw.fabric.family import Family
from hw.fabric.fmax import FmaxModel
from hw.fabric.pll import Pll, PllCell
from hw.fabric.synthesis import SynthesisSpec
from hw.fabric.toolchain import Toolchain

PllWriter = Callable[[Pll, Device, str, str, str], PllCell]
"""The cell of a PLL setting for a device; the last arguments are the input clock, the output clock and the lock."""


@dataclass(frozen=True)
class FamilySpec:
    """All that is known of one FPGA family. Its folder in ``hw.families``, or a package of its own, fills it in.

    Attributes:
        family: the fabric.
        devices: the devices of the family.
        reference: the device on which kernels are synthesised and placed to calibrate the models of cost and Fmax.
        synthesis: synthesis with Yosys.
        toolchain: place and route; None: there is none.
        pll_cell: instantiates the PLL; None: no image can be made.
        dialect: brings the cells of netlists to the form of their models; None: netlists cannot be simulated.
        models: the folder of the SystemVerilog models of the cells; None where ``dialect`` is.
        fmax: the figures for estimates of the clock; None: no clock is estimated.
    """

    family: Family
    devices: tuple[Device, ...]
    reference: str
    synthesis: SynthesisSpec
    toolchain: Toolchain | None = None
    pll_cell: PllWriter | None = None
    dialect: CellDialect | None = None
    models: Traversable | None = None
    fmax: FmaxModel | None = None
