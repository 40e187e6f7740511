"""Trained, compressed and quantized networks as text, and the lists of networks and methods."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows.cli import console
from flows.cli.render_results import figures_line
from flows.cli.tables import Table
from hw.host.text import one_line


def trained(result: dict[str, Any], folder: Path) -> None:
    """Print the result of a training."""
    again = " (unchanged, from an earlier run)" if result.get("cached") else ""
    done = len(result["fit"]["history"])
    took = f"{console.plural(done, 'epoch')}, {result['seconds']:.1f} s{again}"
    reached = result["figures"]["test"]
    said = f"accuracy {reached['accuracy']:.2%}" if "accuracy" in reached else figures_line(reached)
    console.say(f"test {said} after {took}")
    if result["exits"] is not None:
        console.say(_left(result["exits"]))
    totals = result["totals"]
    tables = [row for row in result["layers"] if row["kind"] == "lookup"]
    weighted = [row for row in result["layers"] if row["kind"] != "lookup"]
    if tables:
        count = sum(row["output_shape"][0] for row in tables)
        bits, read = (sum(row[name] for row in tables) for name in ("weights", "macs"))
        encoded = f"; encoders of {totals['encoder_bits']:,} bits" if totals["encoder_bits"] else ""
        console.say(f"{count:,} tables of {bits:,} bits in all, which read {read:,} bits a frame{encoded}")
    if not weighted:
        _files(folder)
        return
    weights, stored, macs = (sum(row[name] for row in weighted) for name in ("weights", "memory_bits", "macs"))
    size = f"{weights:,} weights in {stored / 8192:,.1f} KiB"
    if result["config"]["prune"] is not None:
        size += f", {sum(row['nonzeros'] for row in weighted) / weights:.1%} of them not zero"
    if result["config"]["tie"] is not None:
        size += f", tied by {result['config']['tie']['structure']}"
    if totals["compression_rate"] != 1:
        size += f", {totals['compression_rate']:.3g} times smaller than in floating point"
    console.say(f"{size}; {macs:,} multiply-adds a frame")
    if result["learned_widths"] is not None:
        _learned(result["learned_widths"])
    _files(folder)


def _left(exits: dict[str, Any]) -> str:
    """What early exits do on the test frames, and with which share to build them."""
    test = exits["test"]
    shares = ", ".join(f"{share:.1%} at exit {number}" for number, share in enumerate(test["going_on"], 1))
    heads = ", ".join(f"{accuracy:.2%}" for accuracy in test["heads"])
    share = max(exits.get("validation", test)["going_on"])
    return (
        f"early exits: of the test frames that reach it go on {shares}; the heads alone reach {heads}; folded for the "
        f"share of the {'validation' if 'validation' in exits else 'test'} frames by bitfabric build --exit-share "
        f"{share:.2f}"
    )


def _learned(found: dict[str, Any]) -> None:
    """Print learned widths, their cost, and the options of a training of the same network."""
    kinds = {"weights": found["weights"], "activations": found["activations"]}
    said = "; ".join(f"{kind} {' '.join(map(str, each.values()))}" for kind, each in kinds.items() if each)
    by = found["by"]
    if by == "share":
        cost, largest, part = f"{found['cost']:.1%}", f"{found['largest']:.1%}", "sum of the shares of the device"
    else:
        cost, largest, part = f"{found['cost']:,.0f}", f"{found['largest']:,.0f}", by.upper().replace("_BITS", " bits")
    console.say(f"learned widths: {said}; layers estimated at {cost} ({part}), {largest} at the largest widths")
    options = {name: found[name] for name in ("weight_widths", "activation_widths") if name in found}
    text = " ".join(
        f"--model-option {name}=[{','.join(map(str, widths))}]" for name, widths in options.items()
    )  # fmt: skip
    console.say(f"the same network without learning: {text}")


def _files(run: Path) -> None:
    if not (run / "model.onnx").exists():
        console.say("not exported, as it is a float network: for a student (--teacher), or bitfabric quantize")
    names = ("model.onnx", "metrics.json", "x_test.npy", "y_test.npy")
    console.paths((name, run / name) for name in names if (run / name).exists())


def compressed(result: dict[str, Any], folder: Path, estimates: Sequence[dict[str, Any]]) -> None:
    """Print the result of a compression. ``estimates``: of the network before and after, or none."""
    made = result["compression"]
    table = Table("layer", "weights", "left", "density", "before")
    rows = made["weights"]
    total = {"name": "total", **{key: sum(row[key] for row in rows) for key in ("weights", "before", "after")}}
    for row in (*rows, total):
        shares = (row[key] / row["weights"] for key in ("after", "before"))
        table.add_row(row["name"], f"{row['weights']:,}", f"{row['after']:,}", *(f"{share:.1%}" for share in shares))
    console.show(table)
    reached = made["accuracy"]
    steps = [f"{reached['before']:.2%} before"]
    if reached["compressed"] is not None:
        steps.append(f"{reached['compressed']:.2%} compressed")
    if made["config"]["epochs"]:
        steps.append(f"{reached['after']:.2%} after {console.plural(made['config']['epochs'], 'epoch')} of training")
    again = " (unchanged, from an earlier run)" if result.get("cached") else ""
    console.out.print()
    console.say(f"test accuracy: {', '.join(steps)}{again}")
    if estimates:
        console.out.print()
        _estimated(estimates)
    _files(folder)


def _estimated(estimates: Sequence[dict[str, Any]]) -> None:
    """Print the hardware of the network before and after, and why there is none of one of them."""
    known = [each for each in estimates if "error" not in each]
    table = Table("estimated", "before", "after")
    for name in known[0]["resources"] if known else ():
        table.add_row(name.upper(), *_figures(estimates, "resources", name, "estimated"))
    for name in ("interval", "latency"):
        table.add_row(f"{name}, cycles", *_figures(estimates, "cycles", name))
    table.add_row("frames/s", *_figures(estimates, "fps"))
    if all(each["host_link"] for each in known):
        table.add_row("of these, the host link", *_figures(estimates, "host_link", "fps", form="at most {:,.0f}"))
    if known:
        console.show(table)
    for which, each in zip(("before", "after"), estimates, strict=True):
        if "error" in each:
            console.say(one_line(f"not estimated, the network {which}: {each['error']}"), style="yellow")


def _figures(estimates: Sequence[dict[str, Any]], *names: str, form: str = "{:,.0f}") -> list[str]:
    """A figure of each estimate, under ``names``; a dash where there is none."""
    values: list[Any] = list(estimates)
    for name in names:
        values = [None if each is None else each.get(name) for each in values]
    return ["-" if each is None else form.format(each) for each in values]


def quantized(result: dict[str, Any]) -> None:
    """Print the result of a quantization after training, and the next command."""
    if result["accuracy"] is not None:
        console.say(f"accuracy {result['accuracy']:.2%}, in floating point {result['float_accuracy']:.2%}")
    console.say(
        f"{result['agreement']:.2%} of {result['frames']:,} frames have the float network's largest output; the "
        f"outputs changed by {result['noise']:.2g} of their power",
    )
    explained = f", {result['explained']:,} within float32 rounding" if result["explained"] else ""
    console.say(
        f"the hardware's integers: {result['mismatches']:,} of {result['elements']:,} differ from ONNX Runtime's"
        f"{explained}",
    )
    model = shlex.quote(one_line(result["model"]))
    console.say(f"next: bitfabric build {model} --target ulx3s-85f -o build/")


def quantized_run(result: dict[str, Any], folder: Path) -> None:
    """Print what the quantization of a network of PyTorch costs, layer by layer, its training, and the next command."""
    made = result["quantization"]
    labelled = made["accuracy"] is not None
    table = Table("quantized alone", "what", "bits", *(("accuracy",) if labelled else ()), "noise")
    for row in sorted(made["layers"], key=lambda row: -row["noise"]):
        accuracy = (f"{row['accuracy']:.2%}",) if labelled else ()
        table.add_row(row["name"], row["kind"], str(row["bits"]), *accuracy, f"{row['noise']:.2%}")
    console.show(table)
    console.out.print()
    again = " (unchanged, from an earlier run)" if result.get("cached") else ""
    reached = result["figures"]["test"]
    after = f"accuracy {reached['accuracy']:.2%}" if "accuracy" in reached else figures_line(reached)
    trained = f" after {console.plural(made['epochs'], 'epoch')} of training" if made["epochs"] else ""
    if labelled:
        steps = f"in floating point {made['float_accuracy']:.2%}, quantized {made['accuracy']:.2%}"
        console.say(f"test accuracy: {steps}{f', {after[9:]}{trained}' if trained else ''}{again}")
    else:
        console.say(f"test {after}{trained}{again}")
    console.say(
        f"{made['agreement']:.2%} of {made['frames']:,} frames have the float network's largest output; the outputs "
        f"changed by {made['noise']:.2g} of their power{' before the training' if trained else ''}"
        if labelled
        else f"the outputs changed by {made['noise']:.2g} of their power{' before the training' if trained else ''}"
    )
    _files(folder)
    model = shlex.quote(one_line(str(folder / "model.onnx")))
    console.say(f"next: bitfabric build {model} --target ulx3s-85f -o build/")


def networks() -> None:
    """Print the reference networks, the schemes and the data sets, each in a sentence."""
    from dataclasses import fields

    from quant import schemes
    from quant.data import FOLDER_VARIABLE, NAMED
    from quant.models.registry import builder, families

    table = Table("name", "")
    for family in families():
        table.add_row(family, _first_sentence(builder(family)))
    console.show(table)
    console.out.print()
    console.say(
        "A name ends in widths, as in cnv-w1a2, tfc-wternarya2, or in float; lookup networks have none. Schemes and "
        "their parameters:"
    )
    console.out.print()
    table = Table("name", "")
    for name in schemes.list():
        scheme = schemes.get_class(name)
        parameters = ", ".join(f"{field.name}={field.default!r}" for field in fields(scheme))
        table.add_row(name, _first_sentence(scheme) + (f" ({parameters})" if parameters else ""))
    console.show(table)
    console.out.print()
    console.say(f"Data sets, looked for in the folder ${FOLDER_VARIABLE}; --data takes your own files as well:")
    console.out.print()
    table = Table("name", "", "from", "licence")
    table.add_row("digits", "8 x 8 grey digits, 1,797 with a test set of a fifth, 10 classes", "scikit-learn", "BSD")
    for name, data in NAMED.items():
        table.add_row(name, data.summary, data.source, data.licence)
    console.show(table)


def methods() -> None:
    """Print the methods of compression with their options."""
    from quant.training.methods import METHODS

    table = Table("name", "")
    for name, method in METHODS.items():
        options = [f"{option}={default}" for option, default in method.options.items()]
        if method.counts is not None:
            options.insert(0, f"--fraction {method.fraction} of the {method.counts}")
        table.add_row(name, method.summary + (f" ({', '.join(options)})" if options else ""))
    console.show(table)


def _first_sentence(documented: Any) -> str:
    from inspect import getdoc

    return " ".join((getdoc(documented) or "").replace("``", "").split()).partition(". ")[0].rstrip(".")
