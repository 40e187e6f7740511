"""One HTML page of a study: its front, what was tried and refused, and how each network is made again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.report.axes import Mark, Place, linear_axis, log_axis
from flows.report.page import environment, style
from hw.host.files import write_text

TURN = 137.5
"""Degrees of hue between two layers: the golden angle, so that neighbours differ."""
OTHERS = "FIFOs and others"
"""What of a network's lookup tables is no layer's."""
LEFT, WIDE, ROW = 190.0, 690.0, 44.0
"""Of the parallel coordinates: the left end of the axes, their length, and the distance between two."""
SPACING = 26.0, 14.0
"""Distances of two numbers in the plot, across and up, below which the second one is left out."""


@dataclass(frozen=True)
class Network:
    """A network as the page shows it.

    ``state`` as in a study; ``accuracy`` on validation frames and ``cost`` (the second objective), None where they are
    not known; ``layers``: estimated lookup tables by layer, without FIFOs; ``text``: its choices in words;
    ``commands``: what trains and builds it again.
    """

    number: int
    state: str
    front: bool
    accuracy: float | None
    cost: float | None
    params: Mapping[str, Any]
    hardware: Mapping[str, float]
    layers: Mapping[str, int]
    text: str
    why: str
    commands: tuple[str, ...]


@dataclass(frozen=True)
class Final:
    """A finished network. ``accuracy``, ``lut``: what chose it; ``test`` and ``spread`` (standard deviation) over
    ``seeds`` trainings; ``measured`` lookup tables of the synthesised core, ``integers``: test accuracy of the
    hardware's integers; None where it was not measured. ``cost`` in the study's second objective, as measured, else
    estimated."""

    number: int
    accuracy: float
    lut: float
    seeds: int
    epochs: int
    test: float | None
    spread: float | None
    measured: int | None
    cost: float
    fmax_mhz: float | None
    integers: float | None
    mismatches: int | None
    text: str
    why: str

    @property
    def error(self) -> float | None:
        """The error of the estimate of lookup tables, as a fraction."""
        return self.lut / self.measured - 1 if self.measured else None


@dataclass(frozen=True)
class StudyFacts:
    """What the page is made of. ``cost``: the name of the second objective; ``lines``: what was sought, in words;
    ``choices`` of each dimension; ``importance`` of the dimensions, by objective."""

    title: str
    cost: str
    lines: tuple[str, ...]
    validation: float
    choices: Mapping[str, Sequence[Any]]
    networks: tuple[Network, ...]
    finals: tuple[Final, ...]
    importance: Mapping[str, Mapping[str, float]]

    @property
    def front(self) -> list[Network]:
        """The networks of the front, the cheapest first."""
        return sorted((each for each in self.networks if each.front), key=lambda each: each.accuracy or 0.0)


@dataclass(frozen=True)
class Dot:
    """A network in the plot: its place in pixels, its kind (a CSS class), and its description. ``number``: whether it
    has room for its number."""

    x: float
    y: float
    kind: str
    label: str
    number: int | None = None


@dataclass(frozen=True)
class Span:
    """A finished network in the plot: mean and standard deviation of its test accuracy."""

    x: float
    y: float
    top: float
    bottom: float
    label: str


@dataclass(frozen=True)
class Plot:
    """Accuracy over cost. ``refused``: places of networks that were never trained; ``steps``: an SVG path of the
    front."""

    x_marks: list[Mark]
    y_marks: list[Mark]
    dots: list[Dot]
    refused: list[Dot]
    spans: list[Span]
    steps: str


@dataclass(frozen=True)
class Lane:
    """An axis of the parallel coordinates: its name, its height in pixels, and its marks."""

    name: str
    y: float
    marks: list[Mark]


@dataclass(frozen=True)
class Line:
    """A network in the parallel coordinates: an SVG path, whether it is of the front, and its description."""

    path: str
    front: bool
    label: str


@dataclass(frozen=True)
class Part:
    """A part of a bar in percent, its hue in degrees (None: grey), and its description."""

    start: float
    size: float
    hue: float | None
    label: str


@dataclass(frozen=True)
class Stack:
    """The lookup tables of a network by layer."""

    network: Network
    total: float
    parts: tuple[Part, ...]


def write(facts: StudyFacts, out: Path) -> Path:
    """Write the page of a study to ``out``; returns the path. Raises UsageError where the file cannot be written."""
    lanes, lines = parallel(facts)
    hues, stacks = layers(facts)
    page = (
        environment()
        .get_template("study.html")
        .render(
            facts=facts,
            style=style(),
            front=facts.front,
            tiles=_tiles(facts),
            plot=plot(facts),
            lanes=lanes,
            lines=lines,
            left=LEFT,
            wide=WIDE,
            height=ROW * (len(lanes) + 1),
            hues=hues,
            stacks=stacks,
            figure=figure,
            names=[name for name in facts.choices if any(shares.get(name) for shares in facts.importance.values())],
        )
    )
    write_text(out, page)
    return out


def _tiles(facts: StudyFacts) -> list[tuple[str, str, str]]:
    """The key figures: (name, value, explanation)."""
    states = [each.state for each in facts.networks]
    trained = sum(each.accuracy is not None for each in facts.networks)
    tiles = [
        ("networks", f"{len(states):,}", f"{trained:,} trained, {states.count('does not fit'):,} do not fit"),
        ("front", f"{len(facts.front):,}", "networks that no other one beats"),
    ]
    if facts.front:
        first, last = facts.front[0], facts.front[-1]
        tiles.append(("most accurate", f"{last.accuracy:.2%}", f"number {last.number}, {_cost(facts, last.cost)}"))
        tiles.append(("cheapest", _cost(facts, first.cost), f"number {first.number}, {first.accuracy:.2%}"))
    done = [each for each in facts.finals if each.test is not None]
    if done:
        best = max(done, key=lambda each: each.accuracy)
        spread = "" if best.spread is None else f" ± {100 * best.spread:.2f}"
        tiles.append(("on the test set", f"{best.test:.2%}", f"{spread} number {best.number}, {best.seeds} trainings"))
    return tiles


def _cost(facts: StudyFacts, value: float | None) -> str:
    return "–" if value is None else f"{figure(value)} {facts.cost}"


def figure(value: float | None) -> str:
    """A value of the second objective: whole, or of three digits where it is a small energy."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 or value == round(value) else f"{value:.3g}"


def _cost_axis(facts: StudyFacts, values: Sequence[float]) -> tuple[list[Mark], Place]:
    """The axis of the second objective: logarithmic, but for resources of which a network may have none."""
    return linear_axis(values) if min(values) <= 0 else log_axis(values)


def _percent(value: float) -> str:
    return f"{100 * value:g} %"


def plot(facts: StudyFacts) -> Plot | None:
    """The plot of accuracy over cost; None where no network was trained."""
    shown = [each for each in facts.networks if each.accuracy is not None and each.cost is not None]
    refused = [each for each in facts.networks if each.accuracy is None and each.cost is not None]
    finals = [each for each in facts.finals if each.test is not None]
    if not shown:
        return None
    costs = [each.cost for each in (*shown, *refused) if each.cost is not None]
    costs += [each.cost for each in finals]
    ends = [(each.test or 0.0) + sign * (each.spread or 0.0) for each in finals for sign in (-1, 1)]
    x_marks, x_at = _cost_axis(facts, costs)
    y_marks, y_at = linear_axis([*(each.accuracy or 0.0 for each in shown), *ends], _percent)

    def across(value: float) -> float:
        return round(80 + 6 * x_at(value), 1)

    def down(value: float) -> float:
        return round(320 - 3 * y_at(value), 1)

    dots, numbered = [], list[tuple[float, float]]()
    for each in sorted(shown, key=lambda each: (each.front, each.accuracy or 0.0)):
        x, y = across(each.cost or 0.0), down(each.accuracy or 0.0)
        number = None
        if each.front and all(abs(x - a) >= SPACING[0] or abs(y - b) >= SPACING[1] for a, b in numbered):
            numbered.append((x, y))
            number = each.number
        kind = "front" if each.front else each.state.replace(" ", "-")
        label = f"number {each.number}, {each.state}: {each.accuracy:.2%}, {_cost(facts, each.cost)}; {each.text}"
        dots.append(Dot(x, y, kind, label, number))
    steps = [(across(each.cost or 0.0), down(each.accuracy or 0.0)) for each in facts.front if each.cost is not None]
    path = "".join(f"H{x}V{y}" for x, y in steps[1:])
    return Plot(
        x_marks,
        y_marks,
        dots,
        [Dot(across(each.cost or 0.0), 320, "refused", f"number {each.number}, never trained: {each.why}")
         for each in refused],
        [Span(across(each.cost), down(each.test or 0.0), down((each.test or 0.0) + (each.spread or 0.0)),
              down((each.test or 0.0) - (each.spread or 0.0)),
              f"number {each.number}, finished: {each.test:.2%} on the test set, {_cost(facts, each.cost)}"
              f"{'' if each.measured is None else ' measured'}") for each in finals],
        f"M{steps[0][0]} {steps[0][1]}{path}" if steps else "",
    )  # fmt: skip


def parallel(facts: StudyFacts) -> tuple[list[Lane], list[Line]]:
    """The parallel coordinates of all networks with an accuracy: an axis for each dimension, one for the cost and one
    for the accuracy. Lines of one choice lie side by side, the more accurate ones on the right."""
    shown = sorted(
        (each for each in facts.networks if each.accuracy is not None and each.cost is not None),
        key=lambda each: (each.accuracy or 0.0, each.number),
    )
    if len(shown) < 2:
        return [], []
    varied = {name: values for name, values in facts.choices.items() if len(values) > 1}
    cost_marks, cost_at = _cost_axis(facts, [each.cost for each in shown if each.cost is not None])
    accuracy_marks, accuracy_at = linear_axis([each.accuracy or 0.0 for each in shown], _percent)
    lanes = []
    for row, (name, values) in enumerate(varied.items()):
        slot = WIDE / len(values)
        marks = [Mark(LEFT + slot * (i + 0.5), _shortened(str(value), 16)) for i, value in enumerate(values)]
        lanes.append(Lane(name, ROW * (row + 0.5), marks))
    for name, marks in ((facts.cost, cost_marks), ("accuracy", accuracy_marks)):
        placed = [Mark(LEFT + WIDE * mark.at / 100, mark.text) for mark in marks]
        lanes.append(Lane(name, ROW * (len(lanes) + 0.5), placed))
    lines = []
    for rank, each in enumerate(shown):
        aside = (rank + 0.5) / len(shown) - 0.5
        places = []
        for name, values in varied.items():
            slot = WIDE / len(values)
            places.append(LEFT + slot * (list(values).index(each.params[name]) + 0.5 + 0.6 * aside))
        places += [LEFT + WIDE * cost_at(each.cost or 0.0) / 100, LEFT + WIDE * accuracy_at(each.accuracy or 0.0) / 100]
        path = "L".join(f"{x:.1f} {lane.y:.1f}" for x, lane in zip(places, lanes, strict=True))
        label = f"number {each.number}: {each.accuracy:.2%}, {_cost(facts, each.cost)}; {each.text}"
        lines.append(Line(f"M{path}", each.front, label))
    return lanes, sorted(lines, key=lambda line: line.front)


def layers(facts: StudyFacts) -> tuple[dict[str, float], list[Stack]]:
    """The hue of each layer, and the lookup tables by layer of the networks of the front that state them."""
    stated = [each for each in facts.front if each.layers]
    names = dict.fromkeys(name for each in stated for name in each.layers)
    hues = {name: i * TURN % 360 for i, name in enumerate(names)}
    totals = [max(each.hardware["lut"], float(sum(each.layers.values()))) for each in stated]
    stacks = []
    for each, total in zip(stated, totals, strict=True):
        at, parts = 0.0, []
        rest = total - sum(each.layers.values())
        for name, count in (*each.layers.items(), (OTHERS, rest)):
            size = 100 * count / max(totals)
            parts.append(Part(round(at, 3), round(size, 3), hues.get(name), f"{name}: {count:,.0f} LUT"))
            at += size
        stacks.append(Stack(each, total, tuple(parts)))
    return hues, stacks


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
