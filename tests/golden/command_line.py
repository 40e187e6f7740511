"""The command line's words: its help, and the one line in which everything that is refused ends."""

import io
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import numpy as np
import onnx
import typer.rich_utils

from tests.golden import product
from tests.golden.networks import NETWORKS, Drawing, _branches, _depthwise, _memories, _ternary
from tests.golden.record import as_text
from tests.golden.refusals import networks

WIDTH = 100
PLAIN = {"COLUMNS": str(WIDTH), "LINES": "50", "TERM": "dumb", "NO_COLOR": "1", "PY_COLORS": "0"}
T = "<tmp>"
"""Stands for the folder of the files below."""
BUILT, BARE, MODEL, X = f"{T}/built", f"{T}/bare", f"{T}/ternary.onnx", f"{T}/x.npy"
ESTIMATE = ("estimate", MODEL, "-t", "ulx3s-85f")
BUILD = ("build", MODEL, "-t", "ulx3s-85f", "-o", f"{T}/out")
TRAIN = ("train", "tfc-w1a1", "-o", f"{T}/run")
COMPRESS = ("compress", f"{T}/run", "-o", f"{T}/small", "-m")
RUN = ("run", BUILT, "-i", X)
LINES: tuple[tuple[str, ...], ...] = (
    # wrong usage
    ("nosuch",),
    ("--nosuch",),
    ("build",),
    ("build", MODEL),
    ("estimate", MODEL, "--fps", "fast", "-t", "ulx3s-85f"),
    ("run", BUILT),
    ("run", BUILT, "-i", X, "--engine", "vhdl"),
    ("soft-errors", BUILT),
    (*BUILD, "--stop-after", "somewhere"),
    (*ESTIMATE, "--pareto", "--fps", "1"),
    (*ESTIMATE, "--fill", "--fps", "1"),
    (*ESTIMATE, "--fps", "0"),
    (*ESTIMATE, "--clock", "0.5"),
    (*ESTIMATE, "--clock", "2000"),
    (*BUILD, "--labels", f"{T}/y.npy"),
    (*BUILD, "--rtl-frames", "1"),
    (*BUILD, "--netlist-frames", "0"),
    # files
    ("estimate", f"{T}/none.onnx", "-t", "ulx3s-85f"),
    ("estimate", T, "-t", "ulx3s-85f"),
    ("estimate", f"{T}/text.onnx", "-t", "ulx3s-85f"),
    ("estimate", f"{T}/empty.onnx", "-t", "ulx3s-85f"),
    ("estimate", f"{T}/float.onnx", "-t", "ulx3s-85f"),
    ("estimate", f"{T}/dynamic.onnx", "-t", "ulx3s-85f"),
    ("estimate", f"{T}/wide.onnx", "-t", "ulx3s-85f"),
    ("build", f"{T}/none.onnx", "-t", "ulx3s-85f", "-o", f"{T}/out"),
    ("build", MODEL, "-t", "ulx3s-85f", "-o", f"{T}/text.onnx/out"),
    (*BUILD, "--input", f"{T}/none.npy"),
    (*BUILD, "--input", f"{T}/text.onnx"),
    (*BUILD, "--input", X, "--labels", f"{T}/short.npy"),
    (*BUILD, "--input", f"{T}/one.npy"),
    (*BUILD, "--input", f"{T}/narrow.npy"),
    # foldings
    (*ESTIMATE, "--folding", f"{T}/none.json"),
    (*ESTIMATE, "--folding", f"{T}/text.onnx"),
    (*ESTIMATE, "--folding", f"{T}/list.json"),
    (*ESTIMATE, "--folding", f"{T}/layer.json"),
    (*ESTIMATE, "--folding", f"{T}/key.json"),
    (*ESTIMATE, "--folding", f"{T}/zero.json"),
    (*ESTIMATE, "--folding", f"{T}/simd.json"),
    (*ESTIMATE, "--folding", f"{T}/pe.json"),
    # targets, rates and sizes
    ("estimate", MODEL, "-t", "ulx3s"),
    ("estimate", MODEL, "-t", "nothing-like-it"),
    ("estimate", MODEL, "-t", f"{T}/none.yaml"),
    ("estimate", MODEL, "-t", f"{T}/damaged.yaml"),
    ("estimate", MODEL, "-t", f"{T}/field.yaml"),
    ("estimate", MODEL, "-t", f"{T}/device.yaml"),
    (*ESTIMATE, "--fps", "1e9"),
    (*ESTIMATE, "--fps", "1e9", "--clock", "87.3"),
    ("estimate", f"{T}/memories.onnx", "-t", "icebreaker"),
    ("estimate", f"{T}/memories.onnx", "-t", "icebreaker", "--fps", "1000"),
    ("estimate", f"{T}/memories.onnx", "-t", "tangnano9k", "--fill"),
    ("estimate", f"{T}/memories.onnx", "-t", "tangnano9k", "--pareto"),
    ("estimate", f"{T}/memories.onnx", "-t", "ulx3s-12f", "--fps", "1e6"),
    (*ESTIMATE, "--fps", "5e6", "--parity"),
    # builds
    ("run", T, "-i", X),
    ("report", T),
    ("report", f"{T}/none"),
    ("program", T),
    ("program", BUILT),
    ("virtual", BARE),
    ("run", BARE, "-i", X, "--engine", "board"),
    ("program", BARE),
    ("run", BUILT, "-i", f"{T}/none.npy"),
    ("run", BUILT, "-i", f"{T}/text.onnx"),
    ("run", BUILT, "-i", f"{T}/narrow.npy"),
    ("run", BUILT, "-i", f"{T}/nan.npy"),
    (*RUN, "--labels", f"{T}/short.npy"),
    (*RUN, "--engine", "netlist"),
    (*RUN, "--port", "/dev/nothing"),
    (*RUN, "--trace", f"{T}/waves.vcd"),
    (*RUN, "--engine", "board", "--trace", f"{T}/waves.vcd"),
    ("soft-errors", BUILT, "-i", X, "--flips", "few"),
    ("soft-errors", BUILT, "-i", X, "--flips", "1000000000"),
    ("soft-errors", BUILT, "-i", X, "--trials", "0"),
    # training
    ("train", "tcf-w1a1", "-o", f"{T}/run"),
    ("train", "tfc", "-o", f"{T}/run"),
    (*TRAIN, "--data", "nothing"),
    (*TRAIN, "--data", f"{T}/none"),
    (*TRAIN, "--scheme", "nosuch"),
    (*TRAIN, "--model-option", "width"),
    (*TRAIN, "--model-option", "width=2"),
    (*TRAIN, "--scheme-option", "bits=2"),
    (*TRAIN, "--teacher", f"{T}/none"),
    (*TRAIN, "--patience", "3"),
    (*TRAIN, "--epochs", "0"),
    (*TRAIN, "--prune-structure", "2:4"),
    (*TRAIN, "--prune", "0.5", "--prune-structure", "rows"),
    (*TRAIN, "--prune", "0.5"),
    (*TRAIN, "--target", "ulx3s-85f"),
    (*TRAIN, "--prune", "0.5", "--prune-by", "cycles"),
    (*TRAIN, "--prune", "0.5", "--target", "ulx4s"),
    (*TRAIN, "--prune", "0.5", "--fps", "100"),
    ("compress", f"{T}/run"),
    (*TRAIN, "--tie", "circulant"),
    (*TRAIN, "--tie-layers", "hidden.*"),
    (*TRAIN, "--tie", "p4"),
    (*COMPRESS, "prune"),
    (*COMPRESS, "purne"),
    (*COMPRESS, "obq", "--density", "0.5"),
    (*COMPRESS, "prune", "--density", "2"),
    (*COMPRESS, "prune", "--density", "0.5", "--fraction", "0.5"),
    (*COMPRESS, "obs", "--structure", "2:4"),
    (*COMPRESS, "share", "--option", "clusters"),
    (*COMPRESS, "prune", "--fps", "1000"),
    # FINN's flow
    ("finn", f"{T}/none.onnx", "--board", "Pynq-Z2", "-o", f"{T}/finn"),
    ("finn", MODEL, "--fps", "1", "--folding", f"{T}/pe.json", "-o", f"{T}/finn"),
    ("finn", MODEL, "--board", "Pynk-Z2", "-o", f"{T}/finn"),
    ("finn", MODEL, "--part", "lfe5u-85f", "-o", f"{T}/finn"),
    ("finn", MODEL, "-o", f"{T}/finn"),
    ("finn", MODEL, "--board", "Pynq-Z2", "--fps", "1e9", "-o", f"{T}/finn"),
    ("finn", MODEL, "--board", "Pynq-Z2", "--config", f"{T}/none.json", "-o", f"{T}/finn"),
    ("finn", MODEL, "--board", "Pynq-Z2", "--config", f"{T}/setting.json", "-o", f"{T}/finn"),
    ("finn", MODEL, "--board", "Pynq-Z2", "--config", f"{T}/list.json", "-o", f"{T}/finn"),
)


def helps(folder: Path) -> dict[str, str]:
    """The help of the program and of every command."""
    del folder
    asked = [(), *((name,) for name in product.commands())]
    return {f"help/{'-'.join(('bitfabric', *words))}.txt": _said(*words, "--help") for words in asked}


def errors(folder: Path) -> dict[str, str]:
    """Arguments and the line that they end in, with the exit status."""
    _files(folder)
    return {"errors.json": as_text({" ".join(words): _said(*words, folder=folder) for words in LINES})}


def refusals(folder: Path) -> dict[str, str]:
    """Why networks are not lowered, or have no form in FINN's dialect."""
    del folder
    lowering = {name: product.refusal(model) for name, model in networks().items()}
    made: dict[str, Callable[[], onnx.ModelProto]] = {
        "depthwise": _depthwise, "branches": _branches, "ternary": _ternary, "memories": _memories,
    }  # fmt: skip
    finn = {name: product.finn_refusal(make()) for name, make in made.items()}
    return {"refusals.json": as_text({"lowering": lowering, "finn": finn})}


def _said(*words: str, folder: Path = Path("/nowhere")) -> str:
    """What the command says, with its exit status where that is not 0."""
    out, err = io.StringIO(), io.StringIO()
    rich = patch.multiple(typer.rich_utils, MAX_WIDTH=WIDTH, FORCE_TERMINAL=False, COLOR_SYSTEM=None)
    given = [word.replace(T, str(folder)) for word in words]
    status: object = "none"
    with patch.dict("os.environ", PLAIN), rich, redirect_stdout(out), redirect_stderr(err):
        try:
            product.command_line(*given)
        except SystemExit as left:
            status = left.code
    text = err.getvalue() if status else out.getvalue()
    if status == 0:
        return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
    lines = text.splitlines()
    lines = [line for line in lines if line.startswith("error: ")] or lines
    return f"{status}: " + " ".join(" ".join(lines).split()).replace(str(folder), T)


def _files(folder: Path) -> None:
    """The files that the lines are about."""
    for name in ("ternary", "memories"):
        NETWORKS[name].make(folder / f"{name}.onnx")
    rng = np.random.default_rng(0)
    arrays = {
        "x": rng.integers(0, 8, (6, 24)).astype(np.float32),
        "y": rng.integers(0, 6, 6),
        "short": rng.integers(0, 6, 5),
        "one": np.zeros((1, 24), np.float32),
        "narrow": np.zeros((6, 23), np.float32),
        "nan": np.full((6, 24), np.nan, np.float32),
    }
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)
    (folder / "text.onnx").write_text("no network, no numbers")
    b = Drawing((1, 12), 0)
    onnx.save(b.model((b.node("Relu", "x"), (1, 12))), folder / "float.onnx")
    b = Drawing((1, 12), 0)
    codes = b.node("DynamicQuantizeLinear", "x", outputs=3)
    onnx.save(b.model((codes, (1, 12), onnx.TensorProto.UINT8)), folder / "dynamic.onnx")
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "empty", [], [])), folder / "empty.onnx")
    b = Drawing((1, "width"), 0)  # type: ignore[arg-type]
    onnx.save(b.model((b.quant("x", 0.25, 4), (1, "width"))), folder / "wide.onnx")
    texts = {
        "list.json": "[1]",
        "layer.json": '{"Defaults": {}, "fc9": {"PE": 1}}',
        "key.json": '{"Defaults": {}, "fc0": {"PEs": 1}}',
        "zero.json": '{"Defaults": {}, "fc0": {"PE": 0}}',
        "simd.json": '{"Defaults": {}, "fc0": {"SIMD": 5}}',
        "pe.json": '{"Defaults": {}, "fc0_threshold": {"PE": 3}}',
        "setting.json": '{"target_fp": 3}',
        "damaged.yaml": "name: [",
        "field.yaml": "name: mine\ndevice: lfe5u-85f\nclock: {pin: A1, mhz: 25}\n",
        "device.yaml": "name: mine\ndevice: xc7z020\nclock: {pin: A1, mhz: 25}\n"
        "uart: {rx: A2, tx: A3, max_baud: 115200}\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    for target, out in (("ulx3s-85f", BUILT), ("lfe5u-85f", BARE)):
        ends = _said("build", MODEL, "-t", target, "-o", out, "--stop-after", "fold", "--fps", "1e5", folder=folder)
        assert not ends.startswith(("1: ", "2: ")), ends
