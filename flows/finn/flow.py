"""FINN's build flow, from our exact graph or from FINN's own front end, up to the last step possible on this machine.

The files in the output folder, which are complete without Vivado:

================== ====================================================================================================
model.onnx         the graph in FINN's dialect, folded, with the host's steps around it
build.yaml         FINN's configuration, for ``finn build --batch build.yaml model.onnx`` in this folder
folding.json       the folding, and other settings of the user's, by the names that FINN gives the layers
fifo.json          FIFO depths for the timing of our kernels, in the form of FINN's fifo_config_file
input.npy, ...     frames, and the accelerator's outputs for them (``expected_output.npy``)
finn/              FINN's own output, with the estimates in ``report``
generated/         the HLS and RTL code of every layer
finn.json          the layers as FINN folded them, the steps that are done and those that are left, and the estimates
================== ====================================================================================================
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from flows.cycle_budget import cycle_budget
from flows.finn import foldings, frontend, settings, workspace
from flows.finn.handover import make_portable
from flows.inputs import received, warn
from flows.verify import equal
from hw import finn
from hw.fabric.devices import Device
from hw.families import devices, find_device
from hw.folding import choose, finn_json
from hw.folding.finn_json import FoldingFile
from hw.host.arrays import load_array, save_array
from hw.host.errors import BitfabricError, UsageError
from hw.host.files import read_json, read_text, write_bytes, write_json, write_text
from hw.ir.graph import Graph
from hw.lowering.input_types import InputTypes
from hw.model import Model
from hw.native import process
from hw.native.exclusive import exclusive
from hw.passes.fold import apply_folding, current_folding
from hw.passes.lanes import insert_width_converters
from hw.passes.removal.remove import remove_channels
from hw.simulation.emulator import Emulator
from hw.timing.fifo_sizing import size_fifos
from hw.verification.difference import first_difference
from hw.verification.reference import random_frames

FRAMES = 4
"""Number of frames that FINN verifies in simulations, one after another."""
FOLDING = "folding_config_file"
"""The setting of FINN that names a folding file, relative to the configuration file."""
FILES = ("specialize_layers_config_file", "layouts_config_file", "fifo_config_file")
"""Settings that name other files, which are copied to the folder."""
LANES = ("PE", "SIMD", "parallel_window")
"""FINN's attributes of the folding."""
COMMAND = "finn build --batch build.yaml model.onnx"


@dataclass(frozen=True)
class Request:
    """The options of ``flow``."""

    board: str | None
    part: str | None
    fps: float | None
    folding: Path | None
    clock_mhz: float | None
    front_end: str
    config: Path | None
    frames: Path | None
    fifo_sizes: str


def flow(
    model: str | os.PathLike[str] | Model,
    out: str | os.PathLike[str],
    *,
    board: str | None = None,
    part: str | None = None,
    fps: float | None = None,
    folding: Path | None = None,
    clock_mhz: float | None = None,
    front_end: str = "bitfabric",
    config: Path | None = None,
    frames: Path | None = None,
    fifo_sizes: str = "finn",
    input_type: InputTypes | None = None,
) -> dict[str, Any]:
    """Run FINN's flow on ``model`` (QONNX, or FINN's graph) in the folder ``out``; returns the content of finn.json.

    The options are ``board`` or ``part``; ``fps`` or ``folding`` (FINN's JSON form, by the names of our layers);
    ``clock_mhz`` (100); ``front_end``, ``bitfabric`` for our exact graph or ``finn`` for FINN's streamlining;
    ``config``, a FINN configuration whose settings are passed on (its ``folding_config_file`` is the ``folding``
    unless that or ``fps`` is given); ``frames``, a .npy file of frames for verification;
    ``fifo_sizes``, ``finn`` for the FIFO depths that FINN finds by simulation or ``ours`` for those of our timing
    model; ``input_type``, types of inputs that the model does not quantize (``hw.lowering.input_types``). Raises
    UsageError for invalid options, and BitfabricError where a step or a verification fails.
    """
    request = Request(board, part, fps, folding, clock_mhz, front_end, config, frames, fifo_sizes)
    folder, opened = Path(out), Model.open(model, input_type)
    if fps is not None and folding is not None:
        raise UsageError("--fps and --folding exclude each other; give one of them")
    with exclusive(folder, "another build"):
        return _Flow(opened, folder, request).run()


class _Flow:
    def __init__(self, model: Model, folder: Path, request: Request) -> None:
        self.model, self.folder, self.request = model, folder, request
        self.user = settings.read(request.config) if request.config else {}
        board, part = request.board, request.part
        if board is None and part is None:
            board, part = self.user.get("board"), self.user.get("fpga_part")
        self.part, self.board, self.shell = settings.part_of(board, part)
        given = self.user.get("synth_clk_period_ns")
        self.clock_mhz = request.clock_mhz or (1000.0 / given if given else 100.0)
        self.folding = request.folding
        if request.fps is None and request.folding is None and self.user.get(FOLDING) is not None:
            self.folding = self._beside_config(FOLDING)
        fps = self.user.get("target_fps") if request.fps is None and self.folding is None else request.fps
        self.cycles = None if fps is None else cycle_budget(fps, self.clock_mhz)

    def run(self) -> dict[str, Any]:
        graph, given = self._graph()
        path, proto = self.folder / "model.onnx", finn.write(graph)
        write_bytes(path, proto.SerializeToString())
        with workspace.at(self.folder, self.model.path):
            layers, given = self._prepare(graph, proto, given)
        verified = self._frames(graph, proto)
        config = settings.write(self._settings(), self.folder / "build.yaml")
        report: dict[str, Any] = {
            "model": {"path": self.model.path.name, "sha256": self.model.sha256},
            "front_end": self.request.front_end,
            "part": self.part,
            "board": self.board,
            "clock_mhz": self.clock_mhz,
            "layers": layers,
            "warnings": list(given.remarks),
            "verified": {"finn": verified},
        }
        built = self._build(config, path)
        applied = built.pop("folding")
        for layer in layers:
            layer |= {key: value for key, value in applied.get(layer["finn"], {}).items() if key in LANES}
        report |= built
        write_json(self.folder / "finn.json", report)
        return report

    # --- the graph ---

    def _graph(self) -> tuple[Graph, FoldingFile]:
        """The folded graph, and the content of the folding file, an empty one where there is none."""
        if self.request.front_end == "finn" and not self.model.frontend.folded:
            if self._granularity():
                raise UsageError(
                    f"{self.folding} is for a graph from which channels were removed, and FINN's front end removes "
                    "none; use --front-end bitfabric"
                )
            return self._folded(finn.adapted(finn.read(self._streamlined())))
        if self.request.front_end not in ("bitfabric", "finn"):
            raise UsageError(f"no front end {self.request.front_end}; there are bitfabric and finn")
        return self._folded(finn.adapted(remove_channels(self.model.graph, self._granularity()).graph))

    def _granularity(self) -> int:
        """That of the removal of channels that the folding file is for; 0: none is removed."""
        return 0 if self.folding is None else finn_json.granularity_of(self.folding)

    def _streamlined(self) -> onnx.ModelProto:
        """FINN's graph. Raises BitfabricError where it does not compute the same as the model."""
        made = frontend.dataflow(self.model)
        for node in made.graph.node:
            if node.op_type != "FMPadding":
                continue
            if finn.dialect.attributes(node)["inputDataType"] in ("BINARY", "BIPOLAR"):
                raise BitfabricError(
                    f"{node.name}: FINN pads 1-bit values with -1 where the model pads with 0; use --front-end "
                    "bitfabric, the open back end, or no padding"
                )
        return made.model

    def _beside_config(self, key: str) -> Path:
        """The file that a setting names, relative to the configuration file."""
        config, name = self.request.config, self.user[key]
        assert config is not None
        if not isinstance(name, str):
            raise UsageError(f"{config}: {key} must be the name of a file, not {name!r}")
        return config.absolute().parent / name

    def _folded(self, graph: Graph) -> tuple[Graph, FoldingFile]:
        table, given = current_folding(graph), FoldingFile({})
        device = self._device()
        if self.folding is not None:
            given = finn_json.read(self.folding, graph)
            table = given.table
            if several := [name for name, choice in table.items() if choice.pixels > 1]:
                where = f"{self.folding}: layer {graph.titles[several[0]]}"
                raise UsageError(f"{where}: FINN takes a pixel at a time; leave M out")
        elif self.cycles is not None:
            least, layer = foldings.fastest(graph)
            if self.cycles < least:
                raise UsageError(
                    f"the rate leaves {self.cycles} cycles a frame at {self.clock_mhz:g} MHz; layer {layer} needs "
                    f"{least}: at most {self.clock_mhz * 1e6 / least:.0f} frames/s are possible",
                )
            table = choose.for_cycles(graph, self.cycles, device.family, device.capacity, plain=True)
        elif not self.model.frontend.folded:
            table = choose.for_area(graph, 0.25, device.family, device.capacity, plain=True)
        # FINN processes one pixel at a time.
        made = apply_folding(graph, {name: replace(each, pixels=1) for name, each in table.items()})
        return foldings.supported(made), given

    def _device(self) -> Device:
        """The device for which the folding is chosen: that of the part, or a large one for an unknown part."""
        name = next((name for name in devices() if self.part.lower().startswith(name)), "xc7z045")
        return find_device(name)

    # --- the files ---

    def _prepare(
        self, graph: Graph, proto: onnx.ModelProto, given: FoldingFile
    ) -> tuple[list[dict[str, Any]], FoldingFile]:
        """Write folding and FIFO depths by the names that FINN's steps assign to the layers.

        ``given`` is the user's folding file, of which FINN's other settings are passed on. Returns the layers, and
        the file without the settings that FINN has got.
        """
        from finn.transformation.fpgadataflow.insert_dwc import InsertDWC
        from finn.transformation.fpgadataflow.insert_fifo import InsertFIFO
        from finn.transformation.fpgadataflow.specialize_layers import SpecializeLayers
        from finn.transformation.qonnx.give_unique_node_names_recursive import GiveUniqueNodeNamesRecursive
        from qonnx.core.modelwrapper import ModelWrapper
        from qonnx.custom_op.registry import getCustomOp

        original = {node.output[0]: node.name for node in proto.graph.node}
        origins = {node.outputs[0]: node.origin.names for node in graph}
        settings_of = {node.outputs[0]: given.settings.get(node.name, {}) for node in graph}
        passed = [f"{key} of Defaults" for key in given.defaults]
        model = frontend.partition(ModelWrapper(proto, make_deepcopy=True))
        for step in (SpecializeLayers(self.part), GiveUniqueNodeNamesRecursive()):
            model = model.transform(step)
        folded: dict[str, dict[str, Any]] = {}
        layers = []
        for node in model.graph.node:
            attributes = finn.dialect.attributes(node)
            folded[node.name] = {k: attributes[k] for k in LANES if k in attributes}
            name = original.get(node.output[0], node.name)
            layer = {"name": name, **origins.get(node.output[0], {}), "finn": node.name, "operator": node.op_type}
            layers.append(layer | folded[node.name])
            types = getCustomOp(node).get_nodeattr_types()
            more = {key: value for key, value in settings_of.get(node.output[0], {}).items() if key in types}
            folded[node.name] |= more
            passed += more
        write_json(self.folder / "folding.json", {"Defaults": dict(given.defaults), **folded})
        depths = size_fifos(insert_width_converters(graph))
        for step in (
            InsertDWC(), InsertFIFO(create_shallow_fifos=True), SpecializeLayers(self.part),
            GiveUniqueNodeNamesRecursive(),
        ):  # fmt: skip
            model = model.transform(step)
        fifos = {}
        for node in model.get_nodes_by_op_type("StreamingFIFO_rtl"):
            fifos[node.name] = max(2, _depth(model, node, depths))
        write_json(
            self.folder / "fifo.json",
            {
                "fifo_depths": fifos,
                "fifo_sizes": {},
                "impl_style": dict.fromkeys(fifos, "rtl"),
                "ram_style": dict.fromkeys(fifos, "auto"),
            },
        )
        return layers, given.without(passed)

    def _frames(self, graph: Graph, proto: onnx.ModelProto) -> dict[str, int]:
        """Write the frames for FINN's verification and our emulator's outputs for them.

        Raises BitfabricError where FINN's Python execution differs from the emulator.
        """
        given = self.request.frames
        if given is None:
            x = random_frames(graph, FRAMES)
        else:
            x, inputs = received(graph, load_array(given)[:FRAMES], clip=False)
            for each in inputs:
                warn(each)
        save_array(self.folder / "input.npy", np.asarray(x, np.float32))
        expected = Emulator(graph).run(x)
        if isinstance(expected, dict):
            raise BitfabricError(f"{self.model.path}: FINN verifies networks with one output; this has {len(expected)}")
        save_array(self.folder / "expected_output.npy", expected)
        path = self.folder / "model.onnx"
        if difference := first_difference(finn.execute(proto, x, path), expected):
            raise BitfabricError(f"FINN's execution of {path} differs from ours: {difference}")
        return equal(len(x), expected.size)

    def _settings(self) -> dict[str, Any]:
        """FINN's settings: ours, overridden by the user's file, overridden by the command line."""
        values: dict[str, Any] = {
            "output_dir": "finn",
            "steps": list(settings.EXACT),
            "generate_outputs": ["estimate_reports", "stitched_ip", "rtlsim_performance", "out_of_context_synth"],
            "verify_steps": ["folded_hls_cppsim", "stitched_ip_rtlsim"],
            "verify_input_npy": "input.npy",
            "verify_expected_output_npy": "expected_output.npy",
            "save_intermediate_models": True,
            # The graph already has the narrowest exact types; those that FINN computes are too narrow for popcounts.
            "minimize_bit_width": False,
            "auto_fifo_depths": self.request.fifo_sizes == "finn",
            "fifo_config_file": "fifo.json",
        }
        if self.shell is not None:
            values["generate_outputs"] += ["bitfile", "pynq_driver", "deployment_package"]
        own = ("fpga_part", "board", "target_fps", FOLDING)
        passed = {key: value for key, value in self.user.items() if key not in own}
        for key in FILES:
            if passed.get(key) is not None:
                source = self._beside_config(key)
                passed[key] = key.removesuffix("_file") + source.suffix
                write_text(self.folder / passed[key], read_text(source, kind=key))
        values |= {FOLDING: "folding.json", **passed}
        values["steps"] = [each for each in values["steps"] or settings.EXACT if each not in settings.DONE]
        values["synth_clk_period_ns"] = round(1000 / self.clock_mhz, 6)
        if self.board is None:
            return values | {"fpga_part": self.part}
        return {**values, "board": self.board, **({"shell_flow_type": self.shell} if self.shell else {})}

    # --- FINN at work ---

    def _build(self, config: Any, path: Path) -> dict[str, Any]:
        if workspace.has_vivado():
            return self._whole_build(config)
        names = [step if isinstance(step, str) else step.__name__ for step in config.steps]
        possible = names.index(settings.VIVADO_FROM) if settings.VIVADO_FROM in names else len(names)
        here = [*config.steps[:possible], *([settings.CODE] if possible < len(names) else [])]
        with workspace.at(self.folder, self.model.path):
            from qonnx.core.modelwrapper import ModelWrapper

            config.output_dir = str(self.folder / config.output_dir)
            config.verify_steps = None  # They compile or simulate with Vitis HLS and Vivado.
            model = ModelWrapper(str(path))
            done = []
            for step in workspace.builder().resolve_build_steps(config, list_as_input=here):
                model = step(model, config)
                done.append(step.__name__)
                if config.save_intermediate_models:
                    model.save(str(config.get_intermediate_models_directory() / f"{step.__name__}.onnx"))
        make_portable(self.folder)
        code = {
            node.name: str(Path(finn.dialect.attributes(node).get("code_gen_dir_ipgen", "")).name)
            for node in model.graph.node
        }
        return {
            "done": done,
            "left": names[possible:],
            "code": code,
            "folding": {node.name: finn.dialect.attributes(node) for node in model.graph.node},
            "estimate": _estimate(Path(config.output_dir) / "report"),
            "needs": "Vivado and Vitis HLS (XILINX_VIVADO set), or FINN's container",
            "command": COMMAND,
        }

    def _whole_build(self, config: Any) -> dict[str, Any]:
        """Run all of FINN's steps with FINN's own command. A failed verification, which FINN writes to a file, raises.

        This code follows FINN's documentation and sources. It has never been run, because Vivado was not available.
        """
        with (self.folder / "finn.log").open("a") as log:
            done = process.run(COMMAND.split(), cwd=self.folder, stdout=log, stderr=log)
        failed = sorted((self.folder / "finn").rglob("*_FAIL*"))
        if done.returncode or failed:
            what = f"verification {failed[0].name} failed" if failed else f"it ended with status {done.returncode}"
            raise BitfabricError(f"FINN's build in {self.folder}: {what}; see {self.folder / 'finn.log'}")
        names = [step if isinstance(step, str) else step.__name__ for step in config.steps]
        reports = self.folder / "finn" / "report"
        applied = reports / "applied_folding_config.json"
        folding = read_json(applied) if applied.is_file() else {}
        return {"done": names, "left": [], "folding": folding, "estimate": _estimate(reports)}


def _estimate(reports: Path) -> dict[str, Any]:
    """FINN's estimates from its report files: for the network, and for the layers by FINN's names."""
    found: dict[str, Any] = {}
    for key, name in (("network", "network_performance"), ("cycles", "layer_cycles"), ("resources", "layer_resources")):
        path = reports / f"estimate_{name}.json"
        found[key] = read_json(path) if path.is_file() else {}
    return found


def _depth(model: Any, node: Any, depths: dict[str, int]) -> int:
    """The depth that our timing model determines for the edge of a FIFO of FINN's; 2 where it needs no FIFO."""
    converted = False
    name = node.input[0]
    while (before := model.find_producer(name)) is not None and name not in depths:
        if before.op_type.startswith("StreamingDataWidthConverter"):
            converted = True
        elif not before.op_type.startswith("StreamingFIFO"):
            break
        name = before.input[0]
    if converted:  # after a width converter, which is a separate node in our graph
        return max((depth for edge, depth in depths.items() if edge.startswith(f"{name}_x")), default=2)
    return depths.get(name, 2)
