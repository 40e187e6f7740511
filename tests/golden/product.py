"""Everything of the product that the golden replay calls: the one place with its imports."""

import hashlib
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import onnx

import hw
from flows.cli import main as cli
from flows.config import BuildConfig
from flows.planner import Plan
from hw import finn
from hw.families import families, find_device, find_family, reference_device
from hw.folding import choose
from hw.host.errors import BitfabricError
from hw.ir.kernel import Folding, Kernel
from hw.kernels.calibration import grid, separate
from hw.lowering.lower import lower
from hw.model import Model
from hw.passes.fold import apply_folding
from hw.rtl.design import generate
from hw.simulation.emulator import Emulator
from hw.synth import yosys
from hw.verification.reference import random_frames

TARGETS = ("ulx3s-85f", "ice40up5k", "gw1nr-9c", "xc7z020")
"""One target of each family; the first one is a board."""


def short(content: bytes | str) -> str:
    """The first half of a SHA-256."""
    return hashlib.sha256(content if isinstance(content, bytes) else content.encode()).hexdigest()[:32]


def export_network(name: str, path: Path, **options: Any) -> None:
    """Writes a reference network with random weights and BatchNorm parameters on a coarse grid."""
    import torch

    from quant import create_model, export

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = create_model(name, **options)
    low, high = model.in_range
    rng = np.random.default_rng(0)
    frames = rng.integers(low, high, (2, 32, *model.input_shape), endpoint=True).astype(np.float32)
    model.train()
    with torch.no_grad():
        for batch in frames:
            model(torch.from_numpy(batch))
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.copy_((module.running_mean * 8).round() / 8)
                module.running_var.copy_(torch.exp2(module.running_var.log2().round()))
                if module.affine:
                    module.weight[::3] *= -1  # these channels fall
    export(model.eval(), path, frames[0, :4])
    torch.set_num_threads(threads)


def finn_graph(model: onnx.ModelProto, cycles: int) -> onnx.ModelProto:
    """A network in FINN's dialect, its matrices folded for so many cycles a frame, one pixel a beat."""
    graph = finn.adapted(lower(model))
    table = choose.for_cycles(graph, cycles, find_family("ecp5"), find_device("lfe5u-85f").capacity)
    table = {name: Folding(f.pe, f.simd) for name, f in table.items() if graph.node(name).kernel.op == "matrix_vector"}
    return finn.write(apply_folding(graph, table))


def lowered(model: Path) -> dict[str, Any]:
    """The integer graph of a model as text, and hashes of what it and the emulator compute on random frames."""
    graph = Model.open(model).graph
    frames = random_frames(graph, 16, seed=0)
    inner = graph.execute(graph.encode(frames), keep=True)
    edges = {edge: short(np.ascontiguousarray(values, np.int64).tobytes()) for edge, values in inner.items()}
    outputs = Emulator(graph).run(frames)
    outputs = outputs if isinstance(outputs, dict) else {"": outputs}
    return {
        "graph": str(graph).splitlines(),
        "edges": edges,
        "outputs": {port: f"{values.dtype} {short(values.tobytes())}" for port, values in outputs.items()},
    }


def planned(model: Path, target: str, options: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """All that is known of a model on a target before synthesis, and the text of its top module. Where it cannot be
    built, the line that says why is all that is known."""
    # With all channels: of random weights, whole layers of some networks are constant.
    plan = Plan(Model.open(model), BuildConfig(target=target, **options), granularity=0)
    try:
        summary = plan.estimate().to_json()
    except BitfabricError as error:
        return {"error": str(error), "status": error.status}, ""
    for name in ("uncalibrated", "host_link", "warnings", "choice", "logic_cells"):
        summary.pop(name, None)
    hardware = plan.point.hardware
    design = generate(hardware, plan.device.family)
    summary["folding"] = {name: " ".join(f"{k}={v}" for k, v in f.items()) for name, f in summary["folding"].items()}
    for name in ("fmax_mhz", "fps"):
        summary[name] = summary[name] and float(f"{summary[name]:.9g}")
    summary["layers"] = [" ".join(map(_words, layer.values())) for layer in summary["layers"]]
    streams = design.inputs | design.outputs
    ends = {port: f"{s.shape} {s.dtype.name} lanes={s.lanes} width={s.width}" for port, s in streams.items()}
    hashes = {name: short(text) for name, text in sorted(design.files.items()) if name.endswith(".hex")}
    extra = {"hardware": str(hardware).splitlines(), "ports": ends, "parity": design.parity, "files": hashes}
    return summary | extra, design.files[f"{design.top}.sv"]


def _words(value: Any) -> str:
    return "/".join(map(str, value.values())) if isinstance(value, dict) else str(value)


def kernels() -> dict[str, Kernel]:
    """Every kernel over a grid of parameters, by a name that tells them."""
    return dict(grid())


def modules() -> dict[str, str]:
    """A hash of every packaged SystemVerilog file, by its path below ``hw``."""
    root = Path(hw.__file__).parent
    files = sorted(path for path in root.rglob("*.sv"))
    return {str(path.relative_to(root)): short(path.read_text()) for path in files}


def kernel_facts(kernel: Kernel) -> dict[str, str]:
    """What one kernel is: its timing contract, and on every family its cost and hash of its hardware."""
    schedule = kernel.schedule()
    actions = b"".join(np.packbits(each).tobytes() for each in (*schedule.consumes, *schedule.produces))
    facts = {
        "timing": f"interval={schedule.interval} latency={schedule.latency} credits={schedule.credits} "
        f"repeats={schedule.repeats} places={schedule.input_registers} {short(actions)}",
        "foldings": short(" ".join(str((f.pe, f.simd, f.pixels)) for f in kernel.foldings())),
    }
    for name, family in families().items():
        design = generate(separate(kernel), family)
        made = {
            file: text for file, text in design.files.items() if file.endswith(".hex") or file == f"{design.top}.sv"
        }
        content = short("".join(f"{file}\n{made[file]}" for file in sorted(made)))
        facts[name] = f"{_words(vars(kernel.resources(family)))} {content}"
    return facts


def cells_of_kernel(kernel: Kernel, family: str, folder: Path) -> dict[str, int]:
    """Cells of a kernel alone after synthesis, by type."""
    fabric = find_family(family)
    made = yosys.synthesise(generate(separate(kernel), fabric), reference_device(fabric), folder)
    return dict(sorted(made.cells.items()))


def cells_of_network(model: Path, target: str, options: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Cells of a network's accelerator after synthesis, by type, and what every layer takes (LUT/FF/BRAM/DSP)."""
    plan = Plan(Model.open(model), BuildConfig(target=target, **options), granularity=0)
    made = yosys.synthesise(generate(plan.point.hardware, plan.device.family), plan.device, folder)
    layers = {name: _words(vars(cost)) for name, cost in sorted(made.instances.items())}
    return {"cells": dict(sorted(made.cells.items())), "layers": layers}


def commands() -> list[str]:
    """The names of the command line's commands."""
    import typer.main

    group: Any = typer.main.get_command(cli.app)
    return sorted(group.commands)


def command_line(*arguments: str) -> None:
    """The command line in this process: leaves by SystemExit. It takes its name from the script, of no package."""
    script = patch.object(sys.modules["__main__"], "__package__", None)
    with script, patch("sys.argv", ["bitfabric", *arguments]), patch("signal.signal"):
        cli.main()


def refusal(model: onnx.ModelProto) -> str:
    """Why a network is not lowered."""
    try:
        lower(model)
    except BitfabricError as error:
        return f"{error.status}: {error}"
    return "lowered"


def finn_refusal(model: onnx.ModelProto) -> str:
    """Why a network that is lowered has no form in FINN's dialect."""
    try:
        finn.write(finn.adapted(lower(model)))
    except BitfabricError as error:
        return f"{error.status}: {error}"
    return "written"
