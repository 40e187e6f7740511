"""Renders the HTML page and the summary of a build from its report and its graphs."""

import shlex
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.build_report import PAGE, BuildReport
from flows.engines import ENGINES, find_engine
from flows.facts.design import SHELL, TOP, Counts
from flows.facts.finn import FinnComparison, FinnLayerCost
from flows.report import bottlenecks, figures, floorplan, training
from hw.boards.image import SCOPE
from hw.families import find_device
from hw.host.errors import BitfabricError
from hw.host.files import read_json, write_text
from hw.host.text import printable
from hw.ir import html
from hw.ir.graph import Graph
from hw.lowering.input_types import sentences
from hw.rtl.design import instances
from hw.synth import netlist, paths
from hw.synth.owners import finder
from hw.timing import cycles

if TYPE_CHECKING:
    from jinja2 import Environment

FIGURES = {"rmse": "RMSE", "mae": "MAE", "r2": "R²", "error": "error", "auc": "AUC"}
"""Names of the figures of ``quant.scores``."""
WIDE = 24
"""Largest number of classes whose confusion matrix is shown."""
NAMES = {"lut": "LUT", "ff": "FF", "bram": "BRAM", "dsp": "DSP"}


def write(report: BuildReport, graph: Graph, hardware: Graph, folder: Path, out: Path | None = None) -> Path:
    """Write the page of the build in ``folder`` to ``out``, by default ``report.html`` in the folder; returns the path.

    ``graph`` is the model's graph, ``hardware`` the folded graph with width converters and FIFOs. Raises BitfabricError
    where another version made the build (its cycles differ), and UsageError where the file cannot be written.
    """
    path = out or folder / PAGE
    text = environment().get_template("page.html").render(_facts(report, graph, hardware, folder))
    write_text(path, text)
    return path


def summary(report: BuildReport, hardware: Graph) -> str:
    """A summary of a build as HTML, for notebooks: key figures, layers, and verification."""
    facts = {"report": report.to_json(), "tiles": _tiles(report), "rungs": _rungs(report)}
    facts["warnings"] = _warnings(report)
    network = html.table(hardware, _shares(report))
    return environment().get_template("summary.html").render(facts, network=network, graph_style=html.STYLE)


def _shown(value: Any) -> Any:
    """A value of a template: control characters in strings become escapes. HTML remains HTML."""
    if not isinstance(value, str):
        return value
    return type(value)(printable(value)) if hasattr(value, "__html__") else printable(value)


@cache
def environment() -> "Environment":
    """The templates of the pages, with their filters."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("flows.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., str]] = {
        "fold": lambda fold: f"{fold.pe}×{fold.simd}" + (f"×{fold.pixels}" if fold.pixels > 1 else ""),
        "named": lambda name, titles: titles.get(name, name),
        "n": lambda value: "–" if value is None else f"{value:,}",
        "pct": lambda value: "–" if value is None else f"{value:.1%}",
        "more": lambda value: f"{value:+,}".replace("-", "−"),
    }
    made.filters.update(filters)
    return made


def _facts(report: BuildReport, graph: Graph, hardware: Graph, folder: Path) -> dict[str, Any]:
    """The variables of the template."""
    steady, trace = cycles.steady_state(hardware), cycles.steady(hardware)
    then = cycles.SteadyState(interval=report.cycles.interval.estimated, latency=report.cycles.latency.estimated)
    if steady != then:
        raise BitfabricError(
            f"{folder} was built by another version: {then.interval} and {then.latency} cycles "
            f"there are {steady.interval} and {steady.latency} now; build again with the same command"
        )
    window = figures.Window(trace)
    return {
        "report": report.to_json(),
        "folder": folder,
        "style": style(),
        "title": title(report, folder),
        "graph_style": html.STYLE,
        "tiles": _tiles(report),
        "warnings": _warnings(report),
        "network": html.table(hardware, _shares(report)),
        "titles": hardware.titles,
        "groups": {node.name: node.kernel.role for node in hardware},
        "ticks": window.ticks(),
        "window": window,
        "timeline": figures.timeline(trace, window),
        "accounts": figures.accounts(trace),
        "pace": steady,
        "fifos": figures.occupancies(hardware, trace, window),
        "limits": bottlenecks.find(graph, hardware, steady.interval, find_device(report.device)),
        "rungs": _rungs(report),
        "confusion": _confusion(report),
        "training": training.find(report, folder),
        **_placed(report, hardware, folder),
        "timing": report.timing_paths.to_json() if report.timing_paths else None,
        "kernels": _kernels(hardware),
        "names": NAMES,
        "bins": figures.BINS,
        "totals": _totals(report),
        "finn": _finn(report, hardware),
        "commands": _commands(report, folder),
        "power": report.power.summary if report.power else None,
        "typed": sentences(report.model.input_types),
    }


def _confusion(report: BuildReport) -> dict[str, Any] | None:
    """The confusion matrix of the emulator, with the names of the classes; None where there is none of few classes."""
    checked = report.verified.get("emulator")
    rows = checked.confusion if checked else None
    if not rows or not 1 < len(rows) <= WIDE:
        return None
    return {"names": report.model.meaning.named(np.arange(len(rows))), "rows": rows}


def style() -> str:
    """The style sheet of the pages."""
    return files("flows.report").joinpath("templates", "page.css").read_text()


def title(report: BuildReport, folder: Path) -> str:
    """The name of the network of the build in ``folder``: that of its training, of its file, or of the folder of a
    ``model.onnx``."""
    path = Path(report.model.path)
    if found := training.find(report, folder):
        return found.model
    return path.parent.name if path.stem == "model" and path.parent.name else path.stem


def _tiles(report: BuildReport) -> list[tuple[str, str, str]]:
    """The key figures of a build: (name, value, explanation)."""
    clock = f"{report.clock_mhz:g} MHz"
    tiles = [
        ("throughput", f"{report.fps:,.0f}", f"frames/s at {clock}"),
        ("latency", f"{report.latency_us:,.2f}", f"µs, {report.cycles.latency.estimated:,} cycles"),
    ]
    if link := report.host_link:
        limits = "; the limit of the image" if link.fps < link.core_fps else ""
        tiles.insert(1, ("host link", f"{link.fps:,.0f}", f"frames/s at most, at {link.line}{limits}"))
    fmax = report.fmax_mhz
    if fmax.placed:
        tiles.append(("Fmax", f"{fmax.placed:.1f}", f"MHz placed; {report.fps_at_fmax:,.0f} frames/s there"))
    elif fmax.estimated:
        tiles.append(("Fmax", f"{fmax.estimated:.0f}", "MHz estimated"))
    for name, usage in report.resources:
        used = usage.estimated if usage.used is None else usage.used
        what = "estimated" if usage.used is None else "used"
        if usage.available and used:
            share = f"{used / usage.available:.1%}"
            tiles.append((NAMES[name], share, f"{used:,} of {usage.available:,} {what}"))
    if report.power and (made := report.power.estimate):
        tiles.append(
            ("power", f"{made.milliwatts:.3g}", f"mW estimated at the full rate, {made.microjoules:.3g} µJ a frame")
        )
    if report.lookup:
        tiles.append(("tables", f"{report.lookup.tables:,}", f"of the network: {report.lookup.bits}"))
    if report.exits:
        expected, measured = report.exits.expected, report.exits.measured
        tiles.append(("mean rate", f"{expected.fps:,.0f}", f"frames/s if {expected.going_on:.0%} go on at the exits"))
        if measured:
            said = f"of {measured.frames:,} frames, those that reach it"
            tiles.extend((f"go on at exit {n}", f"{on:.1%}", said) for n, on in enumerate(measured.going_on, 1))
            tiles.append(("latency", f"{measured.mean:,.0f}", f"cycles on average, {measured.worst:,} at worst"))
    emulated = report.verified.get("emulator")
    for name, value in emulated.figures.items() if emulated else ():
        tiles.append((FIGURES[name], f"{value:.4g}", f"of {emulated.frames:,} frames" if emulated else ""))
    accuracies = [check.accuracy for check in report.verified.values() if check.accuracy is not None]
    if accuracies:
        frames = next(iter(report.verified.values())).frames
        tiles.append(("accuracy", f"{accuracies[0]:.2%}", f"of {frames:,} frames"))
    return tiles


def _warnings(report: BuildReport) -> list[str]:
    """The sentences at the head of the page: the warnings of the build, and doubtful inputs."""
    doubtful = [report.inputs.statement] if report.inputs and report.inputs.doubtful else []
    return [*report.warnings, *doubtful]


def _shares(report: BuildReport) -> dict[str, dict[str, str]]:
    """Each layer's share of the design's LUT, BRAM and DSP, as HTML bars; after synthesis the measured resources."""
    columns: dict[str, dict[str, str]] = {}
    measured = any(layer.resources for layer in report.layers)
    for key in ("lut", "bram", "dsp"):
        costs = {layer.name: layer.resources if measured else layer.estimated for layer in report.layers}
        cost = {name: getattr(counts, key) if counts else 0 for name, counts in costs.items()}
        total = sum(cost.values())
        if total:
            columns[NAMES[key]] = {name: _share(n, n / total) if n else "" for name, n in cost.items()}
    return columns


def _share(number: int, share: float) -> str:
    """HTML of a number with a bar of the length ``share`` (0 to 1)."""
    return f'<span class="bf-share" title="{share:.1%}">{number:,}<i style="width:{share:.1%}"></i></span>'


def _rungs(report: BuildReport) -> list[dict[str, Any]]:
    """The sequence of verified engines, starting with the model's reference.

    The key ``frames`` is None for engines on which the build ran no frames; ``amber`` marks those with differences that
    float32 rounding explains.
    """
    checks = report.verified
    reference = next((name for name in ("finn", "onnxruntime") if name in checks), "qonnx")
    rungs = []
    for name in ENGINES:
        traits, check = find_engine(name).traits, checks.get(name)
        if traits.on_board or (traits.executes_model and name != reference):
            continue
        title = f"{check.stage} netlist" if check and check.stage else traits.title
        facts = check.model_dump(mode="json") if check else {"frames": None, "explanation": None, "directed": None}
        explained = bool(check and (check.explanation or (check.directed and check.directed.explained)))
        rungs.append({"engine": name, "name": title, "what": traits.what, "amber": explained, **facts})
    return rungs


def _shell(report: BuildReport) -> Counts | None:
    """The resources of the board's shell; None without a shell and before synthesis."""
    return next((layer.resources for layer in report.layers if layer.name == SHELL), None)


def _totals(report: BuildReport) -> list[dict[str, Any]]:
    """Estimated and measured resources of the layers without the shell, which the estimate does not include."""
    shell = _shell(report)
    rows = []
    for name, usage in report.resources:
        used = usage.used
        mine = None if used is None else used - (getattr(shell, name) if shell else 0)
        error = None if not mine else usage.estimated / mine - 1
        rows.append({"name": NAMES[name], "estimated": usage.estimated, "used": mine, "whole": used,
                     "available": usage.available, "error": error})  # fmt: skip
    return rows


def _finn(report: BuildReport, hardware: Graph) -> list[tuple[FinnLayerCost, dict[str, Any] | None]]:
    """FINN's layers, each matrix-vector layer with our layer and its quantizer.

    Our layers are None where their number differs from that of FINN's layers.
    """
    if not isinstance(report.finn, FinnComparison):
        return []
    roles = {node.name: node.kernel.role for node in hardware}
    ours: list[dict[str, Any]] = []
    for layer in report.layers:
        role, counts = roles.get(layer.name), layer.resources or layer.estimated
        cost = counts.to_json() if counts else dict.fromkeys(NAMES, 0)
        if role == "compute":
            ours.append({**layer.to_json(), **cost, "title": layer.title})
        elif role == "quantize" and ours and "+" not in ours[-1]["name"]:
            sums = {key: ours[-1][key] + cost[key] for key in NAMES}
            both = {key: f"{ours[-1][key]} + {layer.name}" for key in ("name", "title")}
            ours[-1] |= {**both, **sums}
    theirs = [layer for layer in report.finn.layers if layer.operator.startswith(("MVAU", "VVAU"))]
    pairs = dict(zip((layer.name for layer in theirs), ours, strict=False)) if len(theirs) == len(ours) else {}
    return [(layer, pairs.get(layer.name)) for layer in report.finn.layers]


def _placed(report: BuildReport, hardware: Graph, folder: Path) -> dict[str, Any]:
    """The critical path and the floorplan of a placed design; nothing where the build has none."""
    placed = report.products.get("placed netlist")
    if placed is None:
        return {"path": [], "plan": None}
    layers = {instance: node.title for node, instance in instances(hardware).items()}
    image = report.bitstream is not None
    owner = finder(netlist.load(folder / report.products["netlist"])[1], SCOPE if image else "")

    def layer(cell: str) -> str:
        return layers.get(owner(cell), "shell" if image else "between layers")

    made = (folder / placed).with_name(Path(placed).name.replace(".placed.json", ".report.json"))
    try:
        hops = paths.critical_path(read_json(made)).hops
    except (OSError, ValueError, KeyError) as error:
        raise BitfabricError(f"{made} cannot be read ({error}); build again") from None
    return {
        "path": figures.path([(hop.kind, layer(hop.cell), hop.delay_ns) for hop in hops]),
        "plan": floorplan.find(folder / placed, layer),
    }


def _kernels(hardware: Graph) -> dict[str, str]:
    """The kernel of each layer; "" for what is none."""
    return {SHELL: "board and link", TOP: ""} | {node.name: node.kernel.op for node in hardware}


def _commands(report: BuildReport, folder: Path) -> list[str]:
    """Commands that repeat this build and run it."""
    model = ["bitfabric", "build", str(folder / "lower" / "model.onnx"), "--target", report.target]
    model += ["--clock", f"{report.clock_mhz:g}", "--folding", str(folder / "fold" / "folding.json")]
    model += ["--parity"] if report.parity else []
    for name, kind in report.model.input_types.items():
        model += ["--input-type", f"{name}={kind}"]
    model += ["--stop-after", report.stopped_after] if report.stopped_after else []
    model += ["--compare-finn"] if report.finn else []
    model += ["--power"] if report.power else []
    run = ["bitfabric", "run", str(folder), "--input", "X.npy", "--engine"]
    engines = [name for name in report.verified if name in ENGINES]
    return [shlex.join([*model, "-o", "again/"]), *(shlex.join([*run, name]) for name in engines[-1:])]
