"""Builds, estimates, targets and the state of the machine as text."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from flows.build_report import Cycles
from flows.facts.design import SHELL, FoldingChoice, HostLink, Layer
from flows.facts.finn import FinnRefusal
from flows.facts.network import Exits, ExpectedExits, LookupTables, Removed
from hw.host.text import one_line

if TYPE_CHECKING:
    from flows.accelerator import Accelerator

from flows.cli import console
from flows.cli.tables import Table

ORIGIN = 22
"""Maximum characters of a user's own name in a table; the middle of a longer one is left out."""
STEP = 1.05
"""Minimum ratio of cycles between a row of a Pareto front and the row before it."""
LOGIC = "constant_matrix", "constant_network", "constant_threshold"
"""Operators of layers whose weights or thresholds are in no memory."""


def _layers(layers: Sequence[Layer]) -> Table:
    measured = any(layer.resources for layer in layers)
    # M (FINN's name), the number of pixels per beat, is 1 in most networks.
    folds = ("PE", "SIMD", "M") if any(layer.M for layer in layers) else ("PE", "SIMD")
    named = ("from",) if any(layer.origin for layer in layers) else ()
    table = Table("layer", *named, "operator", *folds, "cycles", "LUT", "BRAM", "DSP")
    for layer in layers:
        cost, folding = layer.resources if measured else layer.estimated, layer.to_json()
        table.add_row(
            layer.name, *(one_line(layer.origin, ORIGIN) for _ in named), layer.operator,
            *(console.number(folding.get(key, 1)) for key in folds), console.number(layer.cycles),
            *((console.number(cost.lut), console.number(cost.bram), console.number(cost.dsp)) if cost else "---"),
        )  # fmt: skip
    return table


def _title(layers: Sequence[Layer], name: str) -> str:
    """The name of a layer, with the user's own."""
    return next((layer.title for layer in layers if layer.name == name), name)


def _parity(layers: Sequence[Layer]) -> list[str]:
    """What has parity bits, and a line for each layer whose constants are logic; none where no layer has parity."""
    protected = one_line(", ".join(layer.name for layer in layers if layer.parity))
    if not protected:
        return []
    logic = [one_line(layer.name) for layer in layers if layer.operator in LOGIC]
    return [
        f"memories of {protected}",
        *(f"{name} has no memory to protect: its constants are logic" for name in logic),
    ]


def _rate(fps: float | None) -> str:
    return f"{fps:,.0f} frames/s"


def _link(link: HostLink) -> str:
    """The largest rate of the host link (without the delays of a USB adapter), beside the accelerator's."""
    return f"at most {_rate(link.fps)} at {link.line}; the core takes {link.core_fps:,.0f}"


def _choice(choice: FoldingChoice) -> list[str]:
    """Why a design has its rate, and the rates next to it; empty where the rate was asked for."""
    reasons = {
        "quarter": "the fastest within a quarter of the device",
        "half": "the fastest within half of the device; a quarter holds none",
        "most": "the fastest that is estimated to fit; half of the device holds none",
        "smallest": "the smallest; none is estimated to fit",
        "fill": "the fastest that is estimated to fit",
    }
    if choice.by not in reasons:
        return []
    lines = [reasons[choice.by]]
    if choice.in_dsps:
        lines.append("of those with wide products in DSP blocks; --max-dsp N moves some into lookup tables")
    for word, other in (("slower", choice.slower), ("faster", choice.faster)):
        if other:
            used = ", ".join(f"{getattr(other.resources, key):,} {key.upper()}" for key in ("lut", "bram", "dsp"))
            fits = "" if other.fits else "; estimated not to fit"
            lines.append(f"next {word}: {_rate(other.fps)}, {used} without FIFOs{fits}")
    return lines


def _removed(removed: Removed | None) -> None:
    """Print which channels are not in the design, because they do nothing."""
    for layer in removed.layers if removed else ():
        console.say(one_line(f"removed   {layer.summary}"))


def _lookup(tables: LookupTables | None) -> None:
    """Print the size of a lookup network."""
    if tables:
        console.say(f"tables    {tables.summary}")


def _exits(exits: Exits) -> Iterator[str]:
    """What early exits do to the rate and the latency, in lines."""
    expected, measured = exits.expected, exits.measured
    yield (
        f"if {expected.going_on:.0%} of the frames go on, {expected.interval:,.1f} cycles on average: "
        f"{_rate(expected.fps)}; guaranteed is the interval above"
    )
    if measured:
        shares = ", ".join(f"{share:.1%} at exit {number}" for number, share in enumerate(measured.going_on, 1))
        yield (
            f"of the frames that reach it go on {shares} ({measured.frames:,} frames); {measured.interval:,.1f} cycles "
            "on average"
        )
        yield (
            f"latency in cycles: mean {measured.mean:,.1f}, median {measured.median:,}, of 99 % {measured.high:,}, "
            f"worst {measured.worst:,} ({measured.timed:,} frames)"
        )


def _typed(types: Mapping[str, str]) -> None:
    """Print which types the user gave to inputs."""
    if types:
        from hw.lowering.input_types import sentences

        for sentence in sentences(types):
            console.say(one_line(sentence))


def built(accelerator: "Accelerator") -> None:
    """Print the tables of a build and the paths of its files."""
    report = accelerator.report
    console.show(_layers(report.layers))
    console.out.print()
    facts: list[tuple[str, str]] = []
    bare = " without the shell" if any(layer.name == SHELL for layer in report.layers) else ""
    for name, count in report.resources:
        if count.used is not None:
            share = f" ({count.used / count.available:.1%})" if count.available else ""
            used = f"{count.used:,} of {count.available:,}{share}"
            facts.append((name.upper(), f"{used}, estimated {count.estimated:,}{bare}"))
        else:
            facts.append((name.upper(), f"estimated {count.estimated:,} of {count.available:,}"))
    clock, fmax = f"{report.clock_mhz:g} MHz", report.fmax_mhz
    if fmax.placed:
        guess = f" ({fmax.estimated:.0f} estimated)" if fmax.estimated else ""
        clock += f", Fmax {fmax.placed:.1f} MHz{guess}: {_rate(report.fps_at_fmax)}"
    elif fmax.estimated:
        clock += f", Fmax {fmax.estimated:.0f} MHz estimated"
    facts.append(("clock", clock))
    facts += [("", f"{each.port} {each.mhz:g} MHz, Fmax {each.fmax_mhz:.1f} MHz") for each in report.pin_clocks]
    if cells := report.logic_cells:
        used = "" if cells.used is None else f"at least {cells.used:,} of {cells.available:,}, "
        rest = f" of {cells.available:,}" if cells.used is None else ""
        facts.append(("logic cells", f"{used}estimated {cells.estimated:,}{rest} ({cells.name})"))
    facts.append(("interval", _both(report.cycles.interval) + f": {_rate(report.fps)}"))
    if report.host_link:
        facts.append(("host link", _link(report.host_link)))
    for name, line in zip(
        chain(["folding"], repeat("")), _choice(report.choice) if report.choice else (), strict=False
    ):
        facts.append((name, line))
    facts.append(("latency", _both(report.cycles.latency) + f": {report.latency_us:.2f} us"))
    for name, line in zip(("early exit", "", ""), _exits(report.exits) if report.exits else (), strict=False):
        facts.append((name, line))
    for name, line in zip(chain(["parity"], repeat("")), _parity(report.layers), strict=False):
        facts.append((name, line))
    if report.critical_path:
        facts.append(("critical path", report.critical_path))
    console.facts(facts)
    _lookup(report.lookup)
    _removed(report.removed)
    _typed(report.model.input_types)
    console.print_warnings(report.warnings)
    console.out.print()
    engines = Table("engine", "frames", "mismatches", "accuracy")
    for name, check in report.verified.items():
        accuracy = None if check.accuracy is None else f"{check.accuracy:.2%}"
        name = f"{name} ({check.stage})" if check.stage else name
        engines.add_row(name, console.number(check.frames), console.number(check.mismatches), accuracy or "-")
    console.show(engines)
    for name, check in report.verified.items():
        if check.directed:
            style = "yellow" if check.directed.explained else None
            console.say(f"{name}: {one_line(check.directed.summary)}", style=style)
        if check.removal:
            console.say(f"{name}: {one_line(check.removal.summary)}")
        if check.explanation:
            console.say(one_line(f"{name}: {check.explanation}"), style="yellow")
        if check.remark:
            console.say(one_line(f"{name}: {check.remark}"))
    for inputs in (report.inputs, *report.other_inputs):
        console.print_inputs(inputs)
    finn = report.finn
    if isinstance(finn, FinnRefusal):
        console.out.print()
        console.say(one_line(finn.refused))
    elif finn:
        console.out.print()
        console.say(
            Text.assemble(("FINN's estimate", "bold"), f" for {finn.part}, its own folding for the same interval")
        )
        table = Table("layer", "operator", "PE", "SIMD", "cycles", "LUT", "BRAM", "DSP")
        for layer in finn.layers:
            numbers = (layer.PE, layer.SIMD, layer.cycles, layer.lut, layer.bram, layer.dsp)
            table.add_row(layer.name, layer.operator, *map(console.number, numbers))
        table.add_row("total", "", "", "", *map(console.number, (finn.cycles, finn.lut, finn.bram, finn.dsp)))
        console.show(table)
    if report.power:
        from flows.cli.render_power import show_power

        show_power(report.power)
    console.out.print()
    console.paths((name, accelerator.folder / path) for name, path in report.products.items())


def _both(count: Cycles) -> str:
    simulated = "" if count.simulated is None else f", simulated {count.simulated:,}"
    return f"{console.plural(count.estimated, 'cycle')} estimated{simulated}"


def finn_built(result: dict[str, Any], folder: Path) -> None:
    """Print FINN's layers with its estimates, the completed steps, and the steps that need Vivado.

    Layers have the user's own names and FINN's.
    """
    estimate = result["estimate"]
    table = Table("layer", "in FINN", "PE", "SIMD", "cycles", "LUT", "BRAM", "DSP")
    for layer in result["layers"]:
        cost = estimate["resources"].get(layer["finn"], {})
        keys = ("LUT", "BRAM_18K", "DSP")
        numbers = [layer.get("PE"), layer.get("SIMD"), estimate["cycles"].get(layer["finn"])]
        own = layer.get("module") or layer.get("node") or layer["name"]
        table.add_row(
            one_line(own, 20),
            layer["finn"],
            *map(console.number, numbers),
            *(console.number(cost.get(k), ",.0f") for k in keys),
        )
    console.show(table)
    network = estimate["network"]
    if network:
        rate, clock = network["estimated_throughput_fps"], result["clock_mhz"]
        console.out.print()
        console.say(f"FINN estimates {network['max_cycles']:,} cycles a frame: {_rate(rate)} at {clock:g} MHz")
    console.print_warnings(result["warnings"])
    verified = result["verified"]["finn"]
    console.say(f"FINN's execution equals the emulator on {console.plural(verified['frames'], 'frame')}")
    steps = [("done", ", ".join(result["done"])), ("left", ", ".join(result["left"]))]
    console.facts((name, said) for name, said in steps if said)
    if result["left"]:
        console.out.print()
        console.say(f"The rest needs {result['needs']}; there: cd {one_line(folder)} && {result['command']}")


def estimated(result: dict[str, Any]) -> None:
    """Print the table of an estimate."""
    layers = [Layer.model_validate(layer) for layer in result["layers"]]
    console.show(_layers(layers))
    console.out.print()
    rows = [
        (name.upper(), f"{count['estimated']:,} of {count['available']:,}")
        for name, count in result["resources"].items()
    ]
    if cells := result["logic_cells"]:
        rows.append(("cells", f"{cells['estimated']:,} of {cells['available']:,} {cells['name']}, as they are packed"))
    rows += zip(chain(["parity"], repeat("")), _parity(layers), strict=False)
    energy = result["energy"]
    if energy["milliwatts"] is not None:
        spent = f"about {energy['value']:.2g} uJ a frame, {energy['milliwatts']:.2g} mW at {_rate(energy['fps'])}"
        rows.append(("energy", f"{spent} (a proxy from resources and cycles; --power of a build counts toggles)"))
    fmax = result["fmax_mhz"]
    if fmax["estimated"]:
        missed = ", below the clock" if fmax["estimated"] < result["clock_mhz"] else ""
        slowest = one_line(_title(layers, fmax["slowest"]))
        rows.append(("Fmax", f"{fmax['estimated']:.0f} MHz, limited by {slowest}{missed}"))
    if unknown := fmax.get("uncalibrated"):
        rows.append(("", f"uncalibrated: {', '.join(unknown)} (the slowest kernel of the same role stands in)"))
    cycles = result["cycles"]
    rate = f"{_rate(result['fps'])} at {result['clock_mhz']:g} MHz"
    rows.append(("interval", f"{console.plural(cycles['interval'], 'cycle')}: {rate}"))
    rows += zip(chain(["folding"], repeat("")), _choice(FoldingChoice.model_validate(result["choice"])), strict=False)
    if link := result["host_link"]:
        rows.append(("host link", _link(HostLink.model_validate(link))))
    micro = cycles["latency"] / result["clock_mhz"]
    rows.append(("latency", f"{console.plural(cycles['latency'], 'cycle')}: {micro:.2f} us"))
    if "exits" in result:
        rows.append(("early exit", next(_exits(Exits(expected=ExpectedExits.model_validate(result["exits"]))))))
    console.facts(rows)
    if "lookup" in result:
        _lookup(LookupTables.model_validate(result["lookup"]))
    if "removed" in result:
        _removed(Removed.model_validate(result["removed"]))
    _typed(result.get("input_types", {}))
    console.print_warnings(result["warnings"])


def front(result: dict[str, Any]) -> None:
    """Print the table of a Pareto front, without rows that are hardly slower than the row before them."""
    table = Table("frames/s", "cycles", "LUT", "FF", "BRAM", "DSP", "fullest")
    shown, last = 0, 0.0
    for point in result["pareto"]:
        if point["interval"] < STEP * last and point is not result["pareto"][-1]:
            continue
        used = point["estimated"]
        share, name = max((used[key] / have, key) for key, have in result["available"].items() if have)
        table.add_row(
            console.number(round(point["fps"])), console.number(point["interval"]),
            *(console.number(used[key]) for key in ("lut", "ff", "bram", "dsp")), f"{share:.1%} {name.upper()}",
        )  # fmt: skip
        shown, last = shown + 1, point["interval"]
    console.show(table)
    rest = "" if shown == len(result["pareto"]) else f"; {shown} of {len(result['pareto'])}, --json has all"
    if any("granularity" in point for point in result["pareto"]):
        rest += "; without channels that do nothing"
    console.out.print()
    console.say(f"at {result['clock_mhz']:g} MHz, each the cheapest folding of its rate, without FIFOs{rest}")
    if result["host_link_fps"]:
        console.say(f"host link: at most {_rate(result['host_link_fps'])}, whatever the folding")


def target_table(rows: list[dict[str, Any]]) -> None:
    """Print the boards and devices."""
    table = Table("name", "device", "LUT", "FF", "BRAM", "DSP", "status")
    for row in rows:
        counts = (console.number(row[key]) for key in ("lut", "ff", "bram", "dsp"))
        table.add_row(row["name"], row["device"], *counts, row["ends_with"])
    console.show(table)


def diagnosis(findings: list[dict[str, Any]]) -> None:
    """Print the findings of ``bitfabric doctor``."""
    table = Table("name", "purpose", "status")
    for found in findings:
        color = "red" if found["needed"] else "yellow"
        mark = ("ok", "green") if found["found"] else ("missing", color)
        status = Text.assemble(mark, f" {one_line(found['found'] or found['remedy'])}")
        table.add_row(found["name"], found["purpose"], status)
    console.show(table)
