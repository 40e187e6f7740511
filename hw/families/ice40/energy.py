"""The energy of an iCE40UP5K, from measurements that tinyVision.ai published (docs/power.md has the derivation)."""

from hw.fabric.energy import EnergyModel

ENERGY = EnergyModel(
    static_mw=0.104,
    cycle_pj=50.8,
    clocked_pj=0.01455,
    transition_pj=0.119,
    multiplier_pj=14.1,
    source="tinyVision.ai, iCE40 Power Testing: core current of an iCE40UP5K at 1.219 V",
)
