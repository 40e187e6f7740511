"""What a build found of the activity of its netlist, and its estimated power."""

from flows.facts.fact import Facts


class LayerActivity(Facts):
    """The activity of a layer, as means of a frame: ``toggles`` of its nets and ``transitions`` at their pins.

    ``reads`` are cycles in which an input of a block RAM changed, ``multiplications`` the same of a multiplier, and
    ``clocked`` the pins at the clock. ``microjoules`` are estimated, without the clock network; None where the device
    has no energy model.
    """

    name: str
    toggles: float
    transitions: float
    reads: float
    multiplications: float
    clocked: int
    microjoules: float | None


class PowerEstimate(Facts):
    """Estimated power of the core at the full rate, in mW: ``static``, of the clock network and of the layers; the sum
    ``milliwatts`` and the energy of a frame, ``microjoules``. ``source`` has the coefficients. Pads, PLL and what block
    RAMs use inside are not in it."""

    static: float
    clock_network: float
    layers: float
    milliwatts: float
    microjoules: float
    source: str


class Power(Facts):
    """The activity of the accelerator's netlist after synthesis, at its full rate, and what follows from it.

    ``transitions`` of a frame are those at all pins, those of the clock included: the proxy of energy, by which designs
    on one device compare. ``estimate``: None where the device has no energy model. docs/power.md has the formulas.
    """

    frames: int
    transitions: float
    layers: tuple[LayerActivity, ...]
    estimate: PowerEstimate | None

    @property
    def summary(self) -> str:
        """The energy, or its proxy, in a line."""
        said = f"{self.transitions:,.0f} transitions of pins a frame"
        if self.estimate is None:
            return f"{said}; no estimate in mW: there are no public measurements of this device"
        made = self.estimate
        return (
            f"estimated {made.milliwatts:.3g} mW at the full rate, {made.microjoules:.3g} uJ a frame "
            f"(core without pads, PLL and the inside of block RAMs); {said}"
        )
