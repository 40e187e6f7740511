"""The specification of an FPGA family."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources.abc import Traversable

from hw.fabric.cells import CellDialect
from hw.fabric.devices import Device
from hw.fabric.family import Family
from hw.fabric.fmax import FmaxModel
from hw.fabric.packing import Packing
from hw.fabric.pll import Pll, PllCell
from hw.fabric.synthesis import SynthesisSpec
from hw.fabric.toolchain import Toolchain

PllWriter = Callable[[Pll, Device, str, str, str], PllCell]
"""The cell of a PLL setting for a device; the last arguments are the input clock, the output clock and the lock."""


@dataclass(frozen=True)
class DdrPads:
    """Pads with registers of both edges of a clock, and with a delay, as lines of SystemVerilog. Their models are in
    ``ddr_pad.sv``.

    Attributes:
        input: with ``{name}`` of the instance, ``{pin}``, ``{clock}``, ``{delay}`` in ``steps``, and ``{rise}`` and
            ``{fall}``, the levels at both edges of a period, which are valid from its end on.
        output: the same; ``{rise}`` is at the pin in the first half of a period.
        step_ns: the unit of the delay.
        steps: the largest delay.
    """

    input: str
    output: str
    step_ns: float
    steps: int


@dataclass(frozen=True)
class FamilySpec:
    """The specification of one FPGA family, defined in its folder of ``hw.families`` or in another package.

    Attributes:
        family: the fabric.
        devices: the devices of the family.
        reference: the device on which kernels are synthesised and placed to calibrate the models of cost and Fmax.
        synthesis: synthesis with Yosys.
        packing: the logic cells as the packer fills them; None: lookup tables and flip-flops have places of their own.
        toolchain: place and route; None: there is none.
        pll_cell: instantiates the PLL; None: no image can be made.
        pad: a bidirectional pad as a line of SystemVerilog, with ``{name}`` of the instance, ``{pin}``, ``{out}``,
            ``{drive}`` (high: the pin is driven) and ``{into}``; its model is in ``bidirectional_pad.sv``. None: links
            that need one are refused.
        ddr: pads with registers of both edges of a clock; None: links that need them are refused.
        dialect: adapts the cells of netlists to their models; None: netlists cannot be simulated.
        models: the folder of the SystemVerilog models of the cells; None where ``dialect`` is None.
        fmax: the parameters of the Fmax estimate; None: Fmax is not estimated.
        on_board: the device of a board, from the device, its package, its speed grade and the clock of the board in
            MHz, where place and route takes devices with their package only; None: it takes all devices.
    """

    family: Family
    devices: tuple[Device, ...]
    reference: str
    synthesis: SynthesisSpec
    packing: Packing | None = None
    toolchain: Toolchain | None = None
    pll_cell: PllWriter | None = None
    pad: str | None = None
    ddr: DdrPads | None = None
    dialect: CellDialect | None = None
    models: Traversable | None = None
    fmax: FmaxModel | None = None
    on_board: Callable[[Device, str, str, float], Device] | None = None
