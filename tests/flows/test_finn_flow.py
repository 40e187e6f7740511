"""FINN's build flow from our graph, and our back end inside FINN's build flow."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from qonnx.core.modelwrapper import ModelWrapper

from flows.cli import render
from flows.estimates import estimate_build
from flows.finn import estimate, flow, frontend, settings, workspace
from flows.verify import equal
from hw import finn
from hw.host.errors import BitfabricError
from hw.ir.graph import Graph
from hw.lowering.lower import lower
from hw.simulation.emulator import Emulator
from tests.builders.qonnx_builder import Builder
from tests.flows.test_conv_networks import Case
from tests.flows.test_finn_dialect import model_of

SMALL = Case("tfc-w1a1", 1, options={"input_shape": (1, 4, 4)})
BOARD = {"board": "Pynq-Z2", "fps": 1e5}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return Path(model_of(SMALL, tmp_path_factory.mktemp("flow")))


@pytest.fixture(scope="module")
def done(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    return folder, flow(model, folder, **BOARD)


def test_the_flow_ends_where_vivado_begins(model, done):
    folder, report = done
    assert report["done"][-1] == "step_hw_codegen"
    assert report["left"][0] == "step_generate_hardware"
    assert report["verified"] == {"finn": equal(4, 4 * 10)}
    assert report == json.loads((folder / "finn.json").read_text())
    network = report["estimate"]["network"]
    assert network["max_cycles"] <= 1000
    # Every layer has code: HLS has its C++, RTL its Verilog.
    for layer in report["layers"]:
        code = folder / "generated" / report["code"][layer["finn"]]
        assert list(code.glob("*.cpp" if layer["finn"].rsplit("_", 1)[0].endswith("hls") else "*.v"))


def test_the_folder_is_what_finn_takes(done):
    """FINN's own class reads build.yaml, FINN's own steps take the folding and the FIFOs, names and all."""
    folder, report = done
    builder = workspace.builder()
    from finn.builder.build_dataflow_config import DataflowBuildConfig

    config = DataflowBuildConfig.construct_from(folder / "build.yaml")
    assert [each.__name__ for each in builder.resolve_build_steps(config)] == list(settings.EXACT)
    assert (config.board, config.minimize_bit_width, config.synth_clk_period_ns) == ("Pynq-Z2", False, 10.0)
    folding = json.loads((folder / "folding.json").read_text())
    assert list(folding)[1:] == [layer["finn"] for layer in report["layers"]]
    x, expected = np.load(folder / "input.npy"), np.load(folder / "expected_output.npy")
    np.testing.assert_array_equal(finn.execute(onnx.load(folder / "model.onnx"), x), expected)

    with workspace.at(folder / "again", "model"):
        from finn.transformation.fpgadataflow.insert_dwc import InsertDWC
        from finn.transformation.fpgadataflow.insert_fifo import InsertFIFO
        from finn.transformation.fpgadataflow.set_fifo_depths import ApplyFIFODepthsFromFile
        from finn.transformation.fpgadataflow.specialize_layers import SpecializeLayers
        from finn.transformation.qonnx.give_unique_node_names_recursive import GiveUniqueNodeNamesRecursive

        made = ModelWrapper(str(folder / "finn/intermediate_models/step_minimize_bit_width.onnx"))
        fifos = InsertDWC(), InsertFIFO(create_shallow_fifos=True), SpecializeLayers(report["part"])
        for step in (*fifos, GiveUniqueNodeNamesRecursive(), ApplyFIFODepthsFromFile(folder / "fifo.json")):
            made = made.transform(step)
    depths = json.loads((folder / "fifo.json").read_text())["fifo_depths"]
    found = {n.name: finn.dialect.attributes(n)["depth"] for n in made.get_nodes_by_op_type("StreamingFIFO_rtl")}
    assert found == depths
    assert max(depths.values()) > 2


def test_the_folder_says_nothing_of_this_machine(done):
    folder, report = done
    here = [str(folder), sys.prefix, str(Path.home()), str(Path(__file__).parents[2]), str(Path(finn.__file__).parent)]
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 40
    for path in files:
        content = path.read_bytes()
        assert [place for place in here if place.encode() in content] == [], path
    code = folder / "generated" / report["code"]["MVAU_hls_0"]
    assert "$::env(FINN_ROOT)/finn_deps/finn-hlslib" in (code / "hls_syn_MVAU_hls_0.tcl").read_text()
    assert report["model"]["path"] == "tfc-w1a1.onnx"
    last = ModelWrapper(str(folder / "finn/intermediate_models/step_hw_codegen.onnx"))
    places = [finn.dialect.attributes(node)["code_gen_dir_ipgen"] for node in last.graph.node]
    assert all((folder / place).is_dir() for place in places)


def test_a_folding_of_finns_configuration_is_applied_and_shown(model, tmp_path, capsys):
    """Its other settings are passed on, and every folding file of the folder can be given back."""
    folding = {
        "Defaults": {"ram_style": ["distributed", ["MVAU_hls"]]},
        **{f"MVAU_hls_{i}": {"PE": pe, "SIMD": simd} for i, (pe, simd) in enumerate([(4, 8), (2, 16), (8, 4), (5, 2)])},
        **{f"Thresholding_rtl_{i}": {"PE": pe} for i, pe in enumerate((2, 1, 4))},
        "StreamingFIFO_rtl_0": {"depth": 32},
    }
    folding["MVAU_hls_1"]["resType"] = "lut"
    (tmp_path / "given.json").write_text(json.dumps(folding))
    (tmp_path / "special.json").write_text('{"Defaults": {}}')
    mine = {"board": "Pynq-Z2", "folding_config_file": "given.json", "specialize_layers_config_file": "special.json"}
    mine["steps"] = list(settings.EXACT[:5])
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mine))
    report = flow(model, tmp_path / "out", config=tmp_path / "mine.yaml")
    lanes = {layer["finn"]: {key: layer[key] for key in ("PE", "SIMD") if key in layer} for layer in report["layers"]}
    assert lanes["MVAU_hls_1"] == {"PE": 2, "SIMD": 16}
    assert lanes["Thresholding_rtl_2"] == {"PE": 4}
    assert lanes["MVAU_hls_3"] == {"PE": 5, "SIMD": 2}
    written = json.loads((tmp_path / "out/folding.json").read_text())
    assert written["Defaults"] == folding["Defaults"]
    assert written["MVAU_hls_1"] == folding["MVAU_hls_1"]
    applied = json.loads((tmp_path / "out/finn/report/applied_folding_config.json").read_text())
    for name, values in lanes.items():
        assert {key: applied[name][key] for key in values} == values == {key: written[name][key] for key in values}
    assert applied["MVAU_hls_1"]["resType"] == "lut"
    assert applied["MVAU_hls_0"]["ram_style"] == "distributed"
    assert report["warnings"] == [
        "given.json: these settings of FINN's have no effect here: depth (1)",
        "given.json: StreamingFIFO_rtl_0: FIFOs, width converters and padding follow from the folding",
    ]
    config = yaml.safe_load((tmp_path / "out/build.yaml").read_text())
    assert config["folding_config_file"] == "folding.json"
    assert (tmp_path / "out" / config["specialize_layers_config_file"]).read_text() == '{"Defaults": {}}'
    render.finn_built(report, tmp_path / "out")
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[:4] for line in shown if "MVAU_hls_1" in line] == [
        ["hidden.1.linear", "MVAU_hls_1", "2", "16"]
    ]
    for file in ("out/folding.json", "out/finn/report/applied_folding_config.json"):
        estimate = estimate_build(model, "xc7z020", folding=tmp_path / file)
        ours = {layer["name"]: layer for layer in estimate["layers"]}
        for layer in report["layers"]:
            assert (layer["PE"], layer.get("SIMD", 1)) == (ours[layer["name"]]["PE"], ours[layer["name"]]["SIMD"])


@pytest.mark.slow
@pytest.mark.parametrize("input_quantizer", [False, True])
def test_finns_own_folding_of_a_residual_network_is_given_to_the_open_back_end(input_quantizer, tmp_path):
    """FINN's graph has its shortcuts first, most of its thresholds in MVAUs, and maybe the input's quantizer."""
    path = Path(model_of(Case("resnet8-w4a4", 1, options={"input_shape": (3, 16, 16)}), tmp_path))
    theirs = estimate(path, target_cycles=20_000, input_quantizer=input_quantizer)
    folding = {layer.name: {"PE": layer.pe, "SIMD": layer.simd} for layer in theirs.layers}
    (tmp_path / "f.json").write_text(json.dumps({"Defaults": {}} | folding))
    ours = estimate_build(path, "xc7z045", folding=tmp_path / "f.json")
    assert ours["cycles"]["interval"] <= theirs.max_cycles
    products = [layer["cycles"] for layer in ours["layers"] if layer["operator"] == "matrix_vector"]
    assert sorted(products) == sorted(layer.cycles for layer in theirs.layers if layer.op.startswith("MVAU"))
    assert any("the host quantizes the input" in warning for warning in ours["warnings"]) == input_quantizer


def test_finns_front_end_and_a_users_configuration(model, tmp_path):
    steps = ["step_qonnx_to_finn", "step_streamline", *settings.EXACT[:5]]
    mine = {"board": "Pynq-Z1", "target_fps": 50000, "synth_clk_period_ns": 5.0, "verbose": True, "steps": steps}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mine))
    report = flow(model, tmp_path / "out", front_end="finn", config=tmp_path / "mine.yaml")
    assert (report["board"], report["clock_mhz"], report["front_end"]) == ("Pynq-Z1", 200.0, "finn")
    assert report["estimate"]["network"]["max_cycles"] <= 4000
    assert report["left"] == []
    # FINN's graph, as MODEL, keeps its folding.
    again = flow(tmp_path / "out/model.onnx", tmp_path / "again", part="xc7z020clg400-1", front_end="finn")
    for layer in (*again["layers"], *report["layers"]):
        del layer["node"]  # FINN's thresholds in a layer are nodes of their own in our file.
    assert again["layers"] == report["layers"]
    written = yaml.safe_load((tmp_path / "out/build.yaml").read_text())
    assert (written["verbose"], written["steps"]) == (True, list(settings.EXACT[:5]))


@pytest.mark.parametrize(
    ("options", "content", "words"),
    [
        ({"board": "Pynk-Z2"}, None, "FINN knows no board Pynk-Z2; did you mean Pynq-Z"),
        ({"part": "lfe5u-85f"}, None, "no AMD part"),
        ({}, None, "give either --board"),
        ({"board": "Pynq-Z2", "fps": 1e9}, None, "at most one frame a cycle"),
        ({"board": "Pynq-Z2"}, {"target_fp": 3}, "FINN knows no setting target_fp; did you mean target_fps"),
        ({"board": "Pynq-Z2"}, {"large_fifo_mem_style": "huge"}, "FINN does not take the configuration .*huge"),
        ({"board": "Pynq-Z2"}, {"steps": ["step_of_mine"]}, "FINN does not take .*step_of_mine"),
        ({"board": "Pynq-Z2"}, ["x"], "holds no settings by name"),
    ],
)
def test_bad_requests(model, tmp_path, options, content, words):
    if content is not None:
        (tmp_path / "mine.json").write_text(json.dumps(content))
        options = {**options, "config": tmp_path / "mine.json"}
    with pytest.raises(BitfabricError, match=words) as caught:
        flow(model, tmp_path / "out", **options)
    assert caught.value.status == 2
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_nothing_of_finn_is_left_about(model, tmp_path):
    """The command in a process of its own: one table, no FINN settings in the home folder, no other file."""
    home, work = tmp_path / "home", tmp_path / "work"
    for folder in (home, work):
        folder.mkdir()
    root = str(Path(__file__).parents[2])
    command = ["finn", str(model), "--board", "Pynq-Z2", "--fps", "100000", "-o", "out"]
    env = {"HOME": str(home), "PYTHONPATH": root, "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
    env["BITFABRIC_CACHE"] = str(tmp_path / "cache")  # our own plans of layers in logic
    code = f"import sys; sys.argv[1:] = {command!r}; from flows.cli.main import main; main()"
    run = subprocess.run([sys.executable, "-c", code], cwd=work, env=env, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert "finn build --batch build.yaml model.onnx" in run.stdout
    assert max(map(len, run.stdout.splitlines()[:8])) <= 80
    assert list(home.iterdir()) == []
    assert [path.name for path in work.iterdir()] == ["out"]


@pytest.fixture
def finns_own(model, tmp_path, monkeypatch):
    """A configuration as a FINN user writes it, with FINN's own steps up to the folding, and who runs it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BITFABRIC_TARGET", "ulx3s-85f")
    monkeypatch.setenv("FINN_SETTINGS", str(tmp_path / "settings.yaml"))
    monkeypatch.setenv("FINN_BUILD_DIR", str(tmp_path / "generated"))
    (tmp_path / "generated").mkdir()
    builder = workspace.builder()
    from finn.builder.build_dataflow_config import DataflowBuildConfig, estimate_only_dataflow_steps
    from finn.util import settings as finn_settings

    monkeypatch.setattr(finn_settings, "_SETTINGS", None)
    streams, root = (sys.stdout, sys.stderr), logging.getLogger()
    handlers, level = list(root.handlers), root.level

    def run(*steps):
        config = DataflowBuildConfig(
            output_dir=str(tmp_path / "out"), fpga_part="xc7z020clg400-1", target_fps=100_000,
            steps=[*estimate_only_dataflow_steps, *steps],
        )  # fmt: skip
        # Having done all steps, FINN asks for Vivado's version, and has no answer here.
        with pytest.raises(Exception, match="XILINX_VIVADO must be set"):
            builder.build_dataflow_cfg(str(model), config)

    yield run
    sys.stdout, sys.stderr = streams
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)


def test_our_steps_in_finns_build(finns_own, tmp_path):
    """FINN's flow, its front end and all, that ends in simulated RTL without Vivado."""
    finns_own("flows.finn.steps.step_open_rtl", "flows.finn.steps.step_open_simulation")
    report = json.loads((tmp_path / "out/open/build/build.json").read_text())
    assert {name: each["mismatches"] for name, each in report["verified"].items()} == {
        "finn": 0,
        "emulator": 0,
        "rtl": 0,
    }
    cycles = report["cycles"]["interval"]
    assert cycles["estimated"] == cycles["simulated"] <= 1000
    assert (tmp_path / "out/open/build/rtl/accelerator.sv").is_file()


def test_a_failed_verification_stops_finns_build(finns_own, tmp_path, monkeypatch):
    """With wrong integers from the RTL, the build raises in that step, and none after it runs."""
    from flows import simulation
    from flows.finn import steps

    correct = simulation.simulate

    def wrong(graph: Graph, design, ints):
        got, result = correct(graph, design, ints)
        return {edge: values + 1 for edge, values in got.items()}, result

    monkeypatch.setattr("flows.verify.simulate", wrong)
    with pytest.raises(BitfabricError, match="the RTL differs from the emulator"):
        steps.step_open_simulation(ModelWrapper(str(_partition(tmp_path, finns_own))), _Config(tmp_path / "out", 10.0))


class _Config:
    """What a step reads of FINN's configuration."""

    def __init__(self, output_dir: Path, synth_clk_period_ns: float) -> None:
        self.output_dir, self.synth_clk_period_ns = output_dir, synth_clk_period_ns


def _partition(tmp_path: Path, run) -> Path:
    run()
    return tmp_path / "out/intermediate_models/step_generate_estimate_reports.onnx"


def test_padding_of_bits_is_refused(tmp_path):
    b, rng = Builder((1, 2, 4, 4)), np.random.default_rng(0)
    x = b.node("BipolarQuant", "x", 1.0)
    for _ in range(2):
        weights = b.node("BipolarQuant", b.constant(rng.normal(size=(2, 2, 3, 3))), 1.0)
        x = b.node("Conv", x, weights, kernel_shape=[3, 3], pads=[1] * 4)
        x = b.node("BipolarQuant", b.node("Add", x, np.array([0.5, -1.5]).reshape(1, 2, 1, 1)), 1.0)
    path = tmp_path / "padded.onnx"
    onnx.save(b.model((x, (1, 2, 4, 4))), path)
    with pytest.raises(BitfabricError, match="FMPadding_0: FINN pads 1-bit values with -1"):
        flow(path, tmp_path / "out", board="Pynq-Z2", front_end="finn")
    with pytest.raises(BitfabricError, match=r"conv0_window \(.*\): it pads 1-bit \(BIPOLAR\)"):
        flow(path, tmp_path / "out", board="Pynq-Z2")
    # What FINN itself computes there is another network; we run that, too, when it is FINN's graph that is given.
    made = frontend.dataflow(path)
    x = rng.normal(size=(3, 2, 4, 4)).astype(np.float32)
    got = Emulator(finn.read(made)).run(x)
    np.testing.assert_array_equal(got, finn.execute(made.model, x))
    assert (got != Emulator(lower(path)).run(x)).any()
