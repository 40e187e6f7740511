"""From a build to its page."""

import json
import shlex
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.report import figures, limits
from hw import kernels
from hw.boards.image import SCOPE
from hw.host.errors import BitfabricError, UsageError
from hw.ir import html
from hw.rtl.design import instances
from hw.synth import nextpnr
from hw.timing import cycles

if TYPE_CHECKING:
    from jinja2 import Environment

    from flows.accelerator import Accelerator

RUNGS = {
    "qonnx": ("QONNX reference", "the model in floating point, as onnxruntime and qonnx execute it"),
    "finn": ("FINN", "FINN's Python execution of the graph that it made"),
    "emulator": ("emulator", "the integer dataflow graph against the reference"),
    "rtl": ("RTL", "Verilator against the emulator to the integer, against the cycle model to the cycle"),
    "netlist": ("placed netlist", "the whole image behind its host link, against the emulator"),
}
NAMES = {"lut": "LUT", "ff": "FF", "bram": "BRAM", "dsp": "DSP"}


def write(accelerator: "Accelerator", out: Path | None = None) -> Path:
    """Write the report, by default as ``report.html`` into the build's folder; returns the path.

    Raises BitfabricError where the build is not one of this version (its cycles differ), or the file cannot be
    written.
    """
    path = out or accelerator.folder / "report.html"
    text = _environment().get_template("page.html").render(_facts(accelerator))
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise UsageError(f"cannot write {path} ({error.strerror}); choose another file with -o") from None
    return path


def summary(accelerator: "Accelerator") -> str:
    """A build in short as HTML, for notebooks: its figures, its layers, and what was checked."""
    facts = {"report": accelerator.report, "tiles": _tiles(accelerator.report), "rungs": _rungs(accelerator.report)}
    network = html.table(accelerator.hardware, _shares(accelerator.report))
    return _environment().get_template("summary.html").render(facts, network=network, graph_style=html.STYLE)


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("flows.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., str]] = {
        "fold": lambda fold: f"{fold.pe}×{fold.simd}" + (f"×{fold.pixels}" if fold.pixels > 1 else ""),
        "n": lambda value: "–" if value is None else f"{value:,}",
        "pct": lambda value: "–" if value is None else f"{value:.1%}",
        "more": lambda value: f"{value:+,}".replace("-", "−"),
    }
    made.filters.update(filters)
    return made


def _facts(accelerator: "Accelerator") -> dict[str, Any]:
    """Everything that the template shows."""
    report, hardware = accelerator.report, accelerator.hardware
    pace, trace = cycles.steady_state(hardware), cycles.steady(hardware)
    then = cycles.SteadyState(**{name: count["estimated"] for name, count in report["cycles"].items()})
    if pace != then:
        raise BitfabricError(
            f"{accelerator.folder} was built by another version: {then.interval} and {then.latency} cycles "
            f"there are {pace.interval} and {pace.latency} now; build again with the same command"
        )
    window = figures.Window(trace)
    return {
        "report": report,
        "folder": accelerator.folder,
        "style": _text("page.css"),
        "graph_style": html.STYLE,
        "tiles": _tiles(report),
        "network": html.table(hardware, _shares(report)),
        "groups": {node.name: node.kernel.role for node in hardware},
        "ticks": window.ticks(),
        "window": window,
        "timeline": figures.timeline(trace, window),
        "accounts": figures.accounts(trace),
        "pace": pace,
        "fifos": figures.occupancies(hardware, trace, window),
        "limits": limits.find(accelerator.graph, hardware, pace.interval, accelerator.device),
        "rungs": _rungs(report),
        "path": _path(accelerator),
        "names": NAMES,
        "bins": figures.BINS,
        "totals": _totals(report),
        "finn": _finn(report),
        "commands": _commands(accelerator),
    }


def _text(name: str) -> str:
    return files("flows.report").joinpath("templates", name).read_text()


def _tiles(report: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The figures of a build that one looks for first: name, value, what it means."""
    clock = f"{report['clock_mhz']:g} MHz"
    tiles = [
        ("throughput", f"{report['fps']:,.0f}", f"frames/s at {clock}"),
        ("latency", f"{report['latency_us']:,.2f}", f"µs, {report['cycles']['latency']['estimated']:,} cycles"),
    ]
    fmax = report["fmax_mhz"]
    if fmax["placed"]:
        tiles.append(("Fmax", f"{fmax['placed']:.1f}", f"MHz placed; {report['fps_at_fmax']:,.0f} frames/s there"))
    elif fmax["estimated"]:
        tiles.append(("Fmax", f"{fmax['estimated']:.0f}", "MHz estimated"))
    for name, count in report["resources"].items():
        used = count["estimated"] if count["used"] is None else count["used"]
        what = "estimated" if count["used"] is None else "used"
        if count["available"] and used:
            share = f"{used / count['available']:.1%}"
            tiles.append((NAMES[name], share, f"{used:,} of {count['available']:,} {what}"))
    accuracies = [check["accuracy"] for check in report["verified"].values() if check.get("accuracy") is not None]
    if accuracies:
        frames = next(iter(report["verified"].values()))["frames"]
        tiles.append(("accuracy", f"{accuracies[0]:.2%}", f"of {frames:,} frames"))
    return tiles


def _shares(report: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Bars of the share that each layer has in the design's LUT and BRAM, measured where it was synthesised."""
    columns: dict[str, dict[str, str]] = {}
    measured = any("resources" in layer for layer in report["layers"])
    for key in ("lut", "bram", "dsp"):
        cost = {}
        for layer in report["layers"]:
            counts = layer["resources"] if measured else layer["estimated"]
            cost[layer["name"]] = counts[key] if counts else 0
        total = sum(cost.values())
        if total:
            columns[NAMES[key]] = {name: _share(n, n / total) if n else "" for name, n in cost.items()}
    return columns


def _share(number: int, share: float) -> str:
    """A number over a bar."""
    return f'<span class="bf-share" title="{share:.1%}">{number:,}<i style="width:{share:.1%}"></i></span>'


def _rungs(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The verification ladder; rungs that the build did not reach have no ``frames``. It begins with the one reference
    that the model has."""
    checks = report["verified"]
    other = "qonnx" if "finn" in checks else "finn"
    rungs = []
    for engine, (name, what) in RUNGS.items():
        check = checks.get(engine, {"frames": None})
        name = f"{check['stage']} netlist" if "stage" in check else name
        rungs += [{"engine": engine, "name": name, "what": what, **check}] if engine != other else []
    return rungs


def _totals(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Estimated against measured, of the layers alone: the estimate knows no shell."""
    shell = next((layer["resources"] for layer in report["layers"] if layer["name"] == "(shell)"), None)
    rows = []
    for name, count in report["resources"].items():
        used = count["used"]
        mine = None if used is None else used - (shell[name] if shell else 0)
        error = None if not mine else count["estimated"] / mine - 1
        rows.append({"name": NAMES[name], "estimated": count["estimated"], "used": mine, "whole": used,
                     "available": count["available"], "error": error})  # fmt: skip
    return rows


def _finn(report: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any] | None]]:
    """FINN's layers, each matrix-vector layer with ours and its quantizer; without ours where they are not as many."""
    if not report["finn"] or "refused" in report["finn"]:
        return []
    ours: list[dict[str, Any]] = []
    for layer in report["layers"]:
        role = kernels.get(layer["operator"]).role
        cost = layer.get("resources") or layer["estimated"]
        if role == "compute":
            ours.append({**layer, **cost})
        elif role == "quantize" and ours and "+" not in ours[-1]["name"]:
            sums = {key: ours[-1][key] + cost[key] for key in NAMES}
            ours[-1] |= {"name": f"{ours[-1]['name']} + {layer['name']}", **sums}
    theirs = [layer for layer in report["finn"]["layers"] if layer["operator"].startswith(("MVAU", "VVAU"))]
    pairs = dict(zip((layer["name"] for layer in theirs), ours, strict=False)) if len(theirs) == len(ours) else {}
    return [(layer, pairs.get(layer["name"])) for layer in report["finn"]["layers"]]


def _path(accelerator: "Accelerator") -> list[figures.Hop]:
    """The critical path, from place and route's own report; empty where the build has none."""
    placed = accelerator.report["products"].get("placed netlist")
    if placed is None:
        return []
    made = (accelerator.folder / placed).with_name(Path(placed).name.replace(".placed.json", ".report.json"))
    try:
        hops = nextpnr.critical_path(json.loads(made.read_text()))
    except (OSError, ValueError, KeyError) as error:
        raise BitfabricError(f"{made} cannot be read ({error}); build again") from None
    layers = {instance: node.name for node, instance in instances(accelerator.hardware).items()}

    def owner(cell: str) -> str:
        first, _, rest = cell.partition(".")
        name = rest.split(".")[0] if first == SCOPE else first
        return layers.get(name, "shell" if accelerator.report["bitstream"] else name)

    return figures.path([(hop.kind, owner(hop.cell), hop.delay_ns) for hop in hops])


def _commands(accelerator: "Accelerator") -> list[str]:
    """Commands that make and run this build again."""
    report, folder = accelerator.report, accelerator.folder
    model = ["bitfabric", "build", str(folder / "lower" / "model.onnx"), "--target", report["target"]]
    model += ["--clock", f"{report['clock_mhz']:g}", "--folding", str(folder / "fold" / "folding.json")]
    model += ["--stop-after", report["stopped_after"]] if report["stopped_after"] else []
    model += ["--compare-finn"] if report["finn"] else []
    run = ["bitfabric", "run", str(folder), "--input", "X.npy", "--engine"]
    engines = [engine for engine in report["verified"] if engine in RUNGS]
    return [shlex.join([*model, "-o", "again/"]), *(shlex.join([*run, engine]) for engine in engines[-1:])]
