"""The facts of a study for its page."""

from collections.abc import Mapping, Sequence

from flows.explore.commands import build_command, train_command
from flows.explore.finish import Finished
from flows.explore.settings import Objective, Settings
from flows.explore.space import Choice, described
from flows.explore.trial import WORST_LATENCY
from flows.explore.tried import Tried, front
from flows.report.study import Final, Network, StudyFacts
from hw.boards.targets import find_target
from hw.folding.energy import unit_of

NAMES: dict[Objective, str] = {
    "lut": "LUT", "ff": "FF", "bram": "block RAMs", "dsp": "DSP", "fps": "frames/s", "latency": "cycles of latency",
}  # fmt: skip
"""The objectives as the page names them; ``title`` has that of energy."""


PROXY = (
    "the energy is a proxy from resources and cycles, at the rate, to compare networks on this target by: docs/power.md"
)


def title(objective: Objective, target: str) -> str:
    """An objective as people read it; the energy with its unit on the target, and as the estimate that it is."""
    if objective != "energy":
        return NAMES.get(objective, objective)
    unit = unit_of(find_target(target).device)
    return "uJ a frame, estimated" if unit == "uJ" else "pin transitions a frame, estimated"


def facts_of(
    settings: Settings,
    networks: Sequence[Tried],
    finished: Sequence[Finished],
    importance: Mapping[str, Mapping[str, float]],
) -> StudyFacts:
    """What the page of a study shows. Raises QuantError for a run folder without its arguments."""
    objective = settings.objectives[1]
    best = {each.number for each in front(networks, objective)}
    choices: dict[str, list[Choice]] = {}
    for each in networks:
        for name, value in each.params.items():
            values = choices.setdefault(name, [])
            if value not in values:
                values.append(value)
    limits = [f"at most {most:,} {name.upper()}" for name, most in settings.limits.items()]
    limits += [] if settings.min_accuracy is None else [f"accuracy of at least {settings.min_accuracy:.2%}"]
    rate = "as fast as it fits" if settings.fps is None else f"{settings.fps:,.0f} frames/s"
    rate += "" if settings.clock_mhz is None else f" at {settings.clock_mhz:g} MHz"
    return StudyFacts(
        title=f"{settings.model} on {settings.target}",
        cost=title(objective, settings.target),
        lines=(
            f"data {settings.data}; {rate}; trainings of {', '.join(map(str, settings.epochs))} epochs",
            f"limits: {', '.join(limits) or 'those of the device'}; seed {settings.seed}; {settings.code}",
            *([PROXY] * (objective == "energy")),
        ),
        validation=settings.validation,
        choices={name: sorted(values, key=_order) for name, values in choices.items()},
        networks=tuple(_network(settings, each, each.number in best) for each in networks),
        finals=tuple(_final(each, objective, {one.number: one for one in networks}[each.number]) for each in finished),
        importance={title(name, settings.target): shares for name, shares in importance.items()},  # type: ignore[arg-type]
    )


def _order(value: Choice) -> tuple[int, float, str]:
    """Numbers by their size, then texts; "ternary" lies between 1 and 2 bits."""
    if isinstance(value, str):
        return (0, 1.6, value) if value == "ternary" else (1, 0.0, value)
    return 0, float(value), ""


def _network(settings: Settings, network: Tried, best: bool) -> Network:
    commands: tuple[str, ...] = ()
    if network.folder is not None and network.hardware:
        commands = train_command(network.folder), build_command(settings, network)
    cost = network.values[1] if len(network.values) == 2 else None
    return Network(
        number=network.number,
        state=network.state,
        front=best,
        accuracy=network.accuracy,
        cost=None if cost is None or cost >= WORST_LATENCY else cost,
        params=network.params,
        hardware=network.hardware,
        layers=network.layers,
        text=described(network.params),
        why=network.why,
        commands=commands,
    )


def _final(found: Finished, objective: Objective, network: Tried) -> Final:
    made = found.measured
    cost = network.values[1]
    if made is not None:
        used = {**(made.resources or {}), "fps": made.fps, "latency": made.latency}
        used |= {} if made.energy is None else {"energy": made.energy}
        cost = float(used.get(objective, cost))
    return Final(
        number=found.number,
        accuracy=found.estimated["accuracy"],
        lut=found.estimated["lut"],
        seeds=len(found.runs),
        epochs=found.epochs,
        test=found.test,
        spread=found.spread,
        measured=made.resources["lut"] if made and made.resources else None,
        cost=cost,
        fmax_mhz=made.fmax_mhz if made else None,
        integers=made.test if made else None,
        mismatches=made.mismatches if made else None,
        text=described(found.params),
        why=found.why,
    )
