"""How Yosys synthesises for an FPGA family, and what each of the family's cells costs."""

from collections.abc import Mapping
from dataclasses import dataclass

from hw.fabric.resources import Resources


@dataclass(frozen=True)
class SynthesisSpec:
    """Synthesis for one family.

    Attributes:
        passes: the Yosys script after the sources are read. Its last line is the ``synth_`` command of the family, to
            which the options of the device (``Device.synthesis``) and ``-top`` are appended.
        cost: kind of cell -> what it costs.
        free: kinds of cells that cost nothing, because no resource counts them or because another cell includes them.
    """

    passes: str
    cost: Mapping[str, Resources]
    free: frozenset[str]
