"""The commands' output as text: tables, and the paths of files."""

import shlex
from collections.abc import Mapping, Sequence
from itertools import chain, repeat
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from flows.build_report import SHELL, Cycles, FinnRefusal, FoldingChoice, HostLink, Inputs, Layer, LookupTables, Removed
from flows.terminal import Terminal
from hw.host.text import one_line

if TYPE_CHECKING:
    from flows.accelerator import Accelerator
    from hw.ir.frames import Batch

out = Terminal()

ORIGIN = 22
"""Maximum characters of a user's own name in a table; the middle of a longer one is left out."""
FOLDED = 12
"""Minimum width, in characters, of a column of names in a terminal that is too narrow for the table."""
STEP = 1.05
"""Minimum ratio of cycles between a row of a Pareto front and the row before it."""
LOGIC = "constant_matrix", "constant_threshold"
"""Operators of layers whose weights or thresholds are in no memory."""


class _Table(Table):
    """A table whose strings are one printable line each."""

    def add_row(self, *cells: Any, **options: Any) -> None:
        super().add_row(*(one_line(cell) if isinstance(cell, str) else cell for cell in cells), **options)


def _table(*columns: str) -> Table:
    table = _Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        left = column in (
            "layer",
            "estimated",
            "from",
            "in FINN",
            "operator",
            "board",
            "name",
            "engine",
            "purpose",
            "status",
            "device",
            "",
        )
        table.add_column(column, justify="left" if left else "right", no_wrap=not left, overflow="fold")
    return table


def _show(table: Table) -> None:
    """Print a table completely: a narrow terminal wraps names but not numbers; a pipe gets the full width."""
    columns = table.columns
    cells = [[column.header, *column._cells] for column in columns]
    gap = table.padding[1] + table.padding[3]
    widths = [max(cell_len(str(cell)) for cell in texts) + gap for texts in cells]
    folded = [size if column.no_wrap else min(size, FOLDED) for size, column in zip(widths, columns, strict=True)]
    width = max(out.width, sum(folded)) if out.is_terminal else max(out.width, sum(widths))
    Terminal(width=width).print(table)


def _number(value: float | int | None, form: str = ",") -> str:
    return "-" if value is None else format(value, form)


def _layers(layers: Sequence[Layer]) -> Table:
    measured = any(layer.resources for layer in layers)
    # M (FINN's name), the number of pixels per beat, is 1 in most networks.
    folds = ("PE", "SIMD", "M") if any(layer.M for layer in layers) else ("PE", "SIMD")
    named = ("from",) if any(layer.origin for layer in layers) else ()
    table = _table("layer", *named, "operator", *folds, "cycles", "LUT", "BRAM", "DSP")
    for layer in layers:
        cost, folding = layer.resources if measured else layer.estimated, layer.to_json()
        table.add_row(
            layer.name, *(one_line(layer.origin, ORIGIN) for _ in named), layer.operator,
            *(_number(folding.get(key, 1)) for key in folds), _number(layer.cycles),
            *((_number(cost.lut), _number(cost.bram), _number(cost.dsp)) if cost else "---"),
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
    return f"at most {_rate(link.fps)} at {link.baud:,} baud; the core takes {link.core_fps:,.0f}"


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
    for word, other in (("slower", choice.slower), ("faster", choice.faster)):
        if other:
            used = ", ".join(f"{getattr(other.resources, key):,} {key.upper()}" for key in ("lut", "bram", "dsp"))
            fits = "" if other.fits else "; estimated not to fit"
            lines.append(f"next {word}: {_rate(other.fps)}, {used} without FIFOs{fits}")
    return lines


def _warned(warnings: Sequence[str]) -> None:
    """Print warnings, each in a line."""
    for warning in warnings:
        out.print(Text(one_line(f"warning: {warning}"), style="yellow"), soft_wrap=True)


def _inputs(inputs: Inputs | None) -> None:
    """Print what became of the values of the frames, in yellow where that is doubtful."""
    if inputs is not None:
        out.print(one_line(inputs.statement), style="yellow" if inputs.doubtful else None, soft_wrap=True)


def _removed(removed: Removed | None) -> None:
    """Print which channels are not in the design, because they do nothing."""
    for layer in removed.layers if removed else ():
        out.print(one_line(f"removed   {layer.summary}"), soft_wrap=True)


def _lookup(tables: LookupTables | None) -> None:
    """Print the size of a lookup network."""
    if tables:
        out.print(f"tables    {tables.summary}", soft_wrap=True)


def _typed(types: Mapping[str, str]) -> None:
    """Print which types the user gave to inputs."""
    if types:
        from hw.lowering.input_types import sentences

        for sentence in sentences(types):
            out.print(one_line(sentence), soft_wrap=True)


def built(accelerator: "Accelerator") -> None:
    """Print the tables of a build and the paths of its files."""
    report = accelerator.report
    _show(_layers(report.layers))
    out.print()
    facts = _Table(box=None, pad_edge=False, show_header=False)
    facts.add_column(style="bold")
    facts.add_column()
    bare = " without the shell" if any(layer.name == SHELL for layer in report.layers) else ""
    for name, count in report.resources:
        if count.used is not None:
            share = f" ({count.used / count.available:.1%})" if count.available else ""
            used = f"{count.used:,} of {count.available:,}{share}"
            facts.add_row(name.upper(), f"{used}, estimated {count.estimated:,}{bare}")
        else:
            facts.add_row(name.upper(), f"estimated {count.estimated:,} of {count.available:,}")
    clock, fmax = f"{report.clock_mhz:g} MHz", report.fmax_mhz
    if fmax.placed:
        guess = f" ({fmax.estimated:.0f} estimated)" if fmax.estimated else ""
        clock += f", Fmax {fmax.placed:.1f} MHz{guess}: {_rate(report.fps_at_fmax)}"
    elif fmax.estimated:
        clock += f", Fmax {fmax.estimated:.0f} MHz estimated"
    facts.add_row("clock", clock)
    if cells := report.logic_cells:
        used = "" if cells.used is None else f"at least {cells.used:,} of {cells.available:,}, "
        rest = f" of {cells.available:,}" if cells.used is None else ""
        facts.add_row("logic cells", f"{used}estimated {cells.estimated:,}{rest} ({cells.name})")
    facts.add_row("interval", _both(report.cycles.interval) + f": {_rate(report.fps)}")
    if report.host_link:
        facts.add_row("host link", _link(report.host_link))
    for name, line in zip(("folding", "", ""), _choice(report.choice) if report.choice else (), strict=False):
        facts.add_row(name, line)
    facts.add_row("latency", _both(report.cycles.latency) + f": {report.latency_us:.2f} us")
    for name, line in zip(chain(["parity"], repeat("")), _parity(report.layers), strict=False):
        facts.add_row(name, line)
    if report.critical_path:
        facts.add_row("critical path", report.critical_path)
    out.print(facts)
    _lookup(report.lookup)
    _removed(report.removed)
    _typed(report.model.input_types)
    _warned(report.warnings)
    out.print()
    engines = _table("engine", "frames", "mismatches", "accuracy")
    for name, check in report.verified.items():
        accuracy = None if check.accuracy is None else f"{check.accuracy:.2%}"
        name = f"{name} ({check.stage})" if check.stage else name
        engines.add_row(name, _number(check.frames), _number(check.mismatches), accuracy or "-")
    _show(engines)
    for name, check in report.verified.items():
        if check.directed:
            style = "yellow" if check.directed.explained else None
            out.print(f"{name}: {one_line(check.directed.summary)}", style=style, soft_wrap=True)
        if check.removal:
            out.print(f"{name}: {one_line(check.removal.summary)}", soft_wrap=True)
        if check.explanation:
            out.print(one_line(f"{name}: {check.explanation}"), style="yellow", soft_wrap=True)
        if check.remark:
            out.print(one_line(f"{name}: {check.remark}"), soft_wrap=True)
    _inputs(report.inputs)
    finn = report.finn
    if isinstance(finn, FinnRefusal):
        out.print(f"\n{one_line(finn.refused)}", soft_wrap=True)
    elif finn:
        heading = Text.assemble(("FINN's estimate", "bold"), f" for {finn.part}, its own folding for the same interval")
        out.print("\n", heading, sep="")
        table = _table("layer", "operator", "PE", "SIMD", "cycles", "LUT", "BRAM", "DSP")
        for layer in finn.layers:
            numbers = (layer.PE, layer.SIMD, layer.cycles, layer.lut, layer.bram, layer.dsp)
            table.add_row(layer.name, layer.operator, *map(_number, numbers))
        table.add_row("total", "", "", "", *map(_number, (finn.cycles, finn.lut, finn.bram, finn.dsp)))
        _show(table)
    out.print()
    for name, path in report.products.items():
        out.print(f"{name:<16}{one_line(accelerator.folder / path)}", soft_wrap=True)


def _both(count: Cycles) -> str:
    simulated = "" if count.simulated is None else f", simulated {count.simulated:,}"
    return f"{count.estimated:,} cycles estimated{simulated}"


def finn_built(result: dict[str, Any], folder: Path) -> None:
    """Print FINN's layers with its estimates, the completed steps, and the steps that need Vivado.

    Layers have the user's own names and FINN's.
    """
    estimate = result["estimate"]
    table = _table("layer", "in FINN", "PE", "SIMD", "cycles", "LUT", "BRAM", "DSP")
    for column, width in zip(table.columns, (20, 18, 3, 4, 7, 6, 4, 3), strict=True):
        column.min_width, column.max_width = (None, width) if width > 7 else (width, None)
    for layer in result["layers"]:
        cost = estimate["resources"].get(layer["finn"], {})
        keys = ("LUT", "BRAM_18K", "DSP")
        numbers = [layer.get("PE"), layer.get("SIMD"), estimate["cycles"].get(layer["finn"])]
        own = layer.get("module") or layer.get("node") or layer["name"]
        table.add_row(
            one_line(own, 20), layer["finn"], *map(_number, numbers), *(_number(cost.get(k), ",.0f") for k in keys)
        )
    _show(table)
    network = estimate["network"]
    if network:
        rate, clock = network["estimated_throughput_fps"], result["clock_mhz"]
        out.print(f"\nFINN estimates {network['max_cycles']:,} cycles a frame: {_rate(rate)} at {clock:g} MHz")
    _warned(result["warnings"])
    verified = result["verified"]["finn"]
    out.print(f"FINN's execution equals the emulator on {verified['frames']} frames")
    out.print(f"done   {', '.join(result['done'])}", soft_wrap=True)
    if result["left"]:
        out.print(f"left   {', '.join(result['left'])}", soft_wrap=True)
        out.print(
            f"\nThe rest needs {result['needs']}; there: cd {one_line(folder)} && {result['command']}", soft_wrap=True
        )


def estimated(result: dict[str, Any]) -> None:
    """Print the table of an estimate."""
    layers = [Layer.model_validate(layer) for layer in result["layers"]]
    _show(_layers(layers))
    out.print()
    for name, count in result["resources"].items():
        out.print(f"{name.upper():<10}{count['estimated']:,} of {count['available']:,}")
    if cells := result["logic_cells"]:
        out.print(f"cells     {cells['estimated']:,} of {cells['available']:,} {cells['name']}, as they are packed")
    for name, line in zip(chain(["parity"], repeat("")), _parity(layers), strict=False):
        out.print(f"{name:<10}{line}", soft_wrap=True)
    fmax = result["fmax_mhz"]
    if fmax["estimated"]:
        missed = ", below the clock" if fmax["estimated"] < result["clock_mhz"] else ""
        out.print(
            f"Fmax      {fmax['estimated']:.0f} MHz, limited by {one_line(_title(layers, fmax['slowest']))}{missed}",
            soft_wrap=True,
        )
    if unknown := fmax.get("uncalibrated"):
        out.print(f"          uncalibrated: {', '.join(unknown)} (the slowest kernel of the same role stands in)")
    cycles = result["cycles"]
    out.print(f"interval  {cycles['interval']:,} cycles: {_rate(result['fps'])} at {result['clock_mhz']:g} MHz")
    for i, line in enumerate(_choice(FoldingChoice.model_validate(result["choice"]))):
        out.print(f"{'' if i else 'folding':<10}{line}", soft_wrap=True)
    if link := result["host_link"]:
        out.print(f"host link {_link(HostLink.model_validate(link))}", soft_wrap=True)
    out.print(f"latency   {cycles['latency']:,} cycles: {cycles['latency'] / result['clock_mhz']:.2f} us")
    if "lookup" in result:
        _lookup(LookupTables.model_validate(result["lookup"]))
    if "removed" in result:
        _removed(Removed.model_validate(result["removed"]))
    _typed(result.get("input_types", {}))
    _warned(result["warnings"])


def front(result: dict[str, Any]) -> None:
    """Print the table of a Pareto front, without rows that are hardly slower than the row before them."""
    table = _table("frames/s", "cycles", "LUT", "FF", "BRAM", "DSP", "fullest")
    shown, last = 0, 0.0
    for point in result["pareto"]:
        if point["interval"] < STEP * last and point is not result["pareto"][-1]:
            continue
        used = point["estimated"]
        share, name = max((used[key] / have, key) for key, have in result["available"].items() if have)
        table.add_row(
            _number(round(point["fps"])), _number(point["interval"]),
            *(_number(used[key]) for key in ("lut", "ff", "bram", "dsp")), f"{share:.1%} {name.upper()}",
        )  # fmt: skip
        shown, last = shown + 1, point["interval"]
    _show(table)
    rest = "" if shown == len(result["pareto"]) else f"; {shown} of {len(result['pareto'])}, --json has all"
    if any("granularity" in point for point in result["pareto"]):
        rest += "; without channels that do nothing"
    out.print(f"\nat {result['clock_mhz']:g} MHz, each the cheapest folding of its rate, without FIFOs{rest}")
    if result["host_link_fps"]:
        out.print(f"host link: at most {_rate(result['host_link_fps'])}, whatever the folding")


def trained(result: dict[str, Any], folder: Path) -> None:
    """Print the result of a training."""
    again = " (unchanged, from an earlier run)" if result.get("cached") else ""
    done = len(result["fit"]["history"])
    took = f"{done} epochs, {result['seconds']:.1f} s{again}"
    reached = result["figures"]["test"]
    said = f"accuracy {reached['accuracy']:.2%}" if "accuracy" in reached else figures_line(reached)
    out.print(f"test {said} after {took}")
    totals = result["totals"]
    tables = [row for row in result["layers"] if row["kind"] == "lookup"]
    if len(tables) == len(result["layers"]):
        count = sum(prod(row["output_shape"]) for row in tables)
        out.print(f"{count:,} tables of {totals['weights']:,} bits in all, which read {totals['macs']:,} bits a frame")
        _files(folder)
        return
    size = f"{totals['weights']:,} weights in {totals['memory_bits'] / 8192:,.1f} KiB"
    if result["config"]["prune"] is not None:
        size += f", {totals['density']:.1%} of them not zero"
    if result["config"]["tie"] is not None:
        size += f", tied by {result['config']['tie']['structure']}"
    rate = f"{totals['compression_rate']:.3g} times smaller than in floating point"
    out.print(f"{size}, {rate}; {totals['macs']:,} multiply-adds a frame")
    _files(folder)


def _files(run: Path) -> None:
    if not (run / "model.onnx").exists():
        out.print("not exported, as it is a float network: for a student (--teacher), or quant.quantize")
    for name in ("model.onnx", "metrics.json", "x_test.npy", "y_test.npy"):
        if (run / name).exists():
            out.print(f"{name:<14}{one_line(run / name)}", soft_wrap=True)


def compressed(result: dict[str, Any], folder: Path, estimates: Sequence[dict[str, Any]]) -> None:
    """Print the result of a compression. ``estimates``: of the network before and after, or none."""
    made = result["compression"]
    table = _table("layer", "weights", "left", "density", "before")
    rows = made["weights"]
    total = {"name": "total", **{key: sum(row[key] for row in rows) for key in ("weights", "before", "after")}}
    for row in (*rows, total):
        shares = (row[key] / row["weights"] for key in ("after", "before"))
        table.add_row(row["name"], f"{row['weights']:,}", f"{row['after']:,}", *(f"{share:.1%}" for share in shares))
    _show(table)
    reached = made["accuracy"]
    steps = [f"{reached['before']:.2%} before"]
    if reached["compressed"] is not None:
        steps.append(f"{reached['compressed']:.2%} compressed")
    if made["config"]["epochs"]:
        steps.append(f"{reached['after']:.2%} after {made['config']['epochs']} epochs of training")
    again = " (unchanged, from an earlier run)" if result.get("cached") else ""
    out.print(f"\ntest accuracy: {', '.join(steps)}{again}", soft_wrap=True)
    if estimates:
        table = _table("estimated", "before", "after")
        for name in estimates[0]["resources"]:
            table.add_row(name.upper(), *(f"{each['resources'][name]['estimated']:,}" for each in estimates))
        for name in ("interval", "latency"):
            table.add_row(f"{name}, cycles", *(f"{each['cycles'][name]:,}" for each in estimates))
        table.add_row("frames/s", *(_number(each["fps"], ",.0f") for each in estimates))
        if all(each["host_link"] for each in estimates):
            table.add_row(
                "of these, the host link", *(f"at most {each['host_link']['fps']:,.0f}" for each in estimates)
            )
        out.print()
        _show(table)
    _files(folder)


def quantized(result: dict[str, Any]) -> None:
    """Print the result of a quantization after training, and the next command."""
    if result["accuracy"] is not None:
        out.print(f"accuracy {result['accuracy']:.2%}, in floating point {result['float_accuracy']:.2%}")
    out.print(
        f"{result['agreement']:.2%} of {result['frames']:,} frames have the float network's largest output; the "
        f"outputs changed by {result['noise']:.2g} of their power",
        soft_wrap=True,
    )
    explained = f", {result['explained']:,} within float32 rounding" if result["explained"] else ""
    out.print(
        f"the hardware's integers: {result['mismatches']:,} of {result['elements']:,} differ from ONNX Runtime's"
        f"{explained}",
        soft_wrap=True,
    )
    model = shlex.quote(one_line(result["model"]))
    out.print(f"next: bitfabric build {model} --target ulx3s-85f -o build/", soft_wrap=True)


def networks() -> None:
    """Print the reference networks, the schemes and the data sets, each in a sentence."""
    from dataclasses import fields

    from quant import schemes
    from quant.data import FOLDER_VARIABLE, NAMED
    from quant.models.registry import builder, families

    table = _table("name", "")
    for family in families():
        table.add_row(family, _first_sentence(builder(family)))
    _show(table)
    out.print(
        "\nA name ends in widths, as in cnv-w1a2, tfc-wternarya2, or in float; lookup networks have none. Schemes and "
        "their parameters:\n"
    )
    table = _table("name", "")
    for name in schemes.list():
        scheme = schemes.get_class(name)
        parameters = ", ".join(f"{field.name}={field.default!r}" for field in fields(scheme))
        table.add_row(name, _first_sentence(scheme) + (f" ({parameters})" if parameters else ""))
    _show(table)
    out.print(f"\nData sets, looked for in the folder ${FOLDER_VARIABLE}; --data takes your own files as well:\n")
    table = _table("name", "", "from", "licence")
    table.add_row("digits", "8 x 8 grey digits, 1,797 with a test set of a fifth, 10 classes", "scikit-learn", "BSD")
    for name, data in NAMED.items():
        table.add_row(name, data.summary, data.source, data.licence)
    _show(table)


def methods() -> None:
    """Print the methods of compression with their options."""
    from quant.training.methods import METHODS

    table = _table("name", "")
    for name, method in METHODS.items():
        options = [f"{option}={default}" for option, default in method.options.items()]
        if method.counts is not None:
            options.insert(0, f"--fraction {method.fraction} of the {method.counts}")
        table.add_row(name, method.summary + (f" ({', '.join(options)})" if options else ""))
    _show(table)


def _first_sentence(documented: Any) -> str:
    from inspect import getdoc

    return " ".join((getdoc(documented) or "").replace("``", "").split()).partition(". ")[0].rstrip(".")


def ran(result: dict[str, Any], outputs: "Batch") -> None:
    """Print the result of a run, and the outputs if they were not written to a file."""
    line = f"{result['engine']}: {result['frames']} frames in {result['seconds']:.2f} s"
    if "accuracy" in result:
        line += f", accuracy {result['accuracy']:.2%}"
    out.print(line)
    _inputs(Inputs.model_validate(result["inputs"]))
    if "classes" in result:
        _classes(result)
    if "board" in result:
        told = {"cycles": "cycles a frame", "frames": "frames", "stalls": "stalls", "errors": "link errors",
                "parity_errors": "cycles with a wrong parity", "resent": "frames sent again"}  # fmt: skip
        said = (f"{result['board'][key]:,} {what}" for key, what in told.items() if key in result["board"])
        out.print("board: " + ", ".join(said), soft_wrap=True)
    if "trace" in result:
        out.print(f"waveform {one_line(result['trace'])}", soft_wrap=True)
    if "output" in result:
        named = outputs.items() if isinstance(outputs, dict) else []
        shapes = "".join(f" {one_line(name)} {values.shape}" for name, values in named)
        out.print(f"outputs {one_line(result['output'])}{':' if shapes else ''}{shapes}", soft_wrap=True)
    else:
        import numpy as np

        for name, values in outputs.items() if isinstance(outputs, dict) else [("", outputs)]:
            out.print(f"{one_line(name)} {np.array2string(values, threshold=40, edgeitems=4)}".strip(), soft_wrap=True)


_FIGURES = {"rmse": "RMSE", "mae": "MAE", "r2": "R²", "error": "error", "auc": "AUC", "accuracy": "accuracy"}


def figures_line(figures: dict[str, float]) -> str:
    """The figures of a task (``quant.scores``) in a line."""
    return ", ".join(f"{_FIGURES[name]} {value:.4g}" for name, value in figures.items())


_WIDE = 20
"""Largest number of classes whose confusion matrix is printed."""


def _classes(result: dict[str, Any]) -> None:
    """Print how many frames have each class, and the confusion matrix where there are labels."""
    from collections import Counter

    if result.get("figures"):
        out.print(figures_line(result["figures"]))
    if "anomaly_scores" in result:
        each = sorted(result["anomaly_scores"])
        middle, last = each[len(each) // 2], each[-1]
        out.print(f"anomaly scores from {each[0]:.4g} to {last:.4g}, half of them up to {middle:.4g}", soft_wrap=True)
    if "classes" not in result:
        return
    counts = Counter(map(str, result["classes"])).most_common()
    said = ", ".join(f"{one_line(name)} {count:,}" for name, count in counts[:_WIDE])
    out.print(f"classes: {said}{', ...' if len(counts) > _WIDE else ''}", soft_wrap=True)
    matrix, names = result.get("confusion", []), [one_line(name) for name in result.get("class_names", [])]
    if 1 < len(matrix) <= _WIDE:
        table = _table("label \\ class", *names)
        for name, row in zip(names, matrix, strict=True):
            table.add_row(name, *(f"{count:,}" if count else "-" for count in row))
        _show(table)
    elif matrix:
        wrong = [(row[j], names[i], names[j]) for i, row in enumerate(matrix) for j in range(len(row)) if i != j]
        worst = [each for each in sorted(wrong, key=lambda each: -each[0])[:5] if each[0]]
        told = ", ".join(f"{label} as {found} {count:,}" for count, label, found in worst)
        out.print(f"most confused: {told or 'none'}", soft_wrap=True)


def flipped(result: dict[str, Any]) -> None:
    """Print the accuracy for each number of flipped bits."""
    scored = any("accuracy" in row for row in result["rows"])
    table = _table("flips", "changed", *(("accuracy", "least", "greatest") if scored else ()))
    for row in result["rows"]:
        accuracy = row.get("accuracy", {})
        table.add_row(f"{row['flips']:,}", f"{row['changed']['mean']:.2%}", *(f"{v:.2%}" for v in accuracy.values()))
    _show(table)
    left = f"; left out: {one_line(', '.join(result['left_out']))}" if result["left_out"] else ""
    line = f"of {result['bits']:,} bits of weights, thresholds and requants, {result['trials']} trials each{left}"
    out.print(line, soft_wrap=True)
    _inputs(Inputs.model_validate(result["inputs"]))


def target_table(rows: list[dict[str, Any]]) -> None:
    """Print the boards and devices."""
    table = _table("name", "device", "LUT", "FF", "BRAM", "DSP", "status")
    for row in rows:
        counts = (_number(row[key]) for key in ("lut", "ff", "bram", "dsp"))
        table.add_row(row["name"], row["device"], *counts, row["ends_with"])
    _show(table)


def diagnosis(findings: list[dict[str, Any]]) -> None:
    """Print the findings of ``bitfabric doctor``."""
    table = _table("name", "purpose", "status")
    for found in findings:
        color = "red" if found["needed"] else "yellow"
        mark = ("ok", "green") if found["found"] else ("missing", color)
        status = Text.assemble(mark, f" {one_line(found['found'] or found['remedy'])}")
        table.add_row(found["name"], found["purpose"], status)
    _show(table)
