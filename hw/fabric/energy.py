"""The energy of an FPGA's core: coefficients for an estimate from the counted activity of a netlist."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EnergyModel:
    """Coefficients of one device, from published measurements. docs/power.md has the formulas.

    Attributes:
        static_mw: power of the core supply with a halted clock, in milliwatts.
        cycle_pj: energy of the clock network in a cycle, without the cells that it clocks, in picojoules.
        clocked_pj: energy of a clocked pin in a cycle, whether its cell changes or not.
        transition_pj: energy of a transition at a pin.
        multiplier_pj: energy inside of a multiplier for new operands.
        source: where the coefficients come from, in words.
    """

    static_mw: float
    cycle_pj: float
    clocked_pj: float
    transition_pj: float
    multiplier_pj: float
    source: str

    def dynamic_pj(self, cycles: float, clocked: int, transitions: float, multiplications: float) -> float:
        """The energy of ``clocked`` pins in ``cycles``, of ``transitions`` and of ``multiplications``, in picojoules.

        It does not contain the clock network (``cycle_pj``) and the static power.
        """
        return (
            cycles * clocked * self.clocked_pj + transitions * self.transition_pj + multiplications * self.multiplier_pj
        )

    def base_pj(self, cycles: float, clock_mhz: float) -> float:
        """The energy of the clock network and of the static power in ``cycles`` of a clock, in picojoules."""
        return cycles * (self.cycle_pj + 1000 * self.static_mw / clock_mhz)
