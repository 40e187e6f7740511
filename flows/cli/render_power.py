"""The activity and the estimated power of a build as text."""

from flows.cli import console
from flows.cli.tables import Table
from flows.facts.power import Power
from hw.host.text import one_line


def show_power(power: Power) -> None:
    """Print the activity of every layer, and the estimate."""
    energies = power.estimate is not None
    table = Table("layer", "toggles", "transitions", "RAM reads", "products", "clocked", *(["nJ est."] * energies))
    for layer in power.layers:
        counts = (layer.toggles, layer.transitions, layer.reads, layer.multiplications)
        spent = [] if layer.microjoules is None else [console.number(1000 * layer.microjoules, ",.2f")]
        table.add_row(
            layer.name, *(console.number(count, ",.1f") for count in counts), console.number(layer.clocked), *spent
        )
    console.out.print()
    console.show(table)
    console.say(one_line(f"power, by {console.plural(power.frames, 'frame')}: {power.summary}"))
    if power.estimate:
        console.say(one_line(f"coefficients: {power.estimate.source}"))
