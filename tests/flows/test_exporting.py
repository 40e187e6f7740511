"""Exports of a build, used alone: the IP core in simulators and frameworks of others."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from flows import build
from flows.accelerator import Accelerator
from flows.cli.main import app
from flows.exporting import export_ip
from hw.host.errors import BitfabricError, UsageError
from hw.ip_core.core import IpCore
from hw.ir.stream import Stream
from hw.rtl.design import RtlDesign
from hw.simulation import verilator
from hw.synth import yosys
from tests.builders.qonnx_builder import Builder

NAME = "digits"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Accelerator:
    """A build with memories in lookup tables and in block RAM, these with parity."""
    out = tmp_path_factory.mktemp("built")
    rng = np.random.default_rng(3)
    b = Builder((1, 32))
    x = b.quant("x", 0.5, 4)
    x = b.quant(b.node("MatMul", x, b.quant(rng.normal(size=(32, 24)), 0.3, 4)), 4.0, 3, signed=0)
    x = b.node("MatMul", x, b.quant(rng.normal(size=(24, 5)), 0.5, 3, narrow=1))
    onnx.save(b.model((x, (1, 5))), out / "model.onnx")
    np.save(out / "x.npy", rng.normal(size=(20, 32)).astype(np.float32))
    return build(out / "model.onnx", "lfe5u-25f", out / "build", fps=2e5, parity=True, stop_after="rtl")


@pytest.fixture(scope="module")
def core(made, tmp_path_factory) -> Path:
    """The core of a build, moved away from it."""
    here, there = tmp_path_factory.mktemp("ip"), tmp_path_factory.mktemp("elsewhere")
    options = ["--name", NAME, "--input", str(made.folder.parent / "x.npy"), "--frames", "8"]
    said = CliRunner().invoke(app, ["export-ip", str(made.folder), "-o", str(here / "core"), *options])
    assert said.exit_code == 0, said.output
    assert f"{NAME}.sv" in said.output
    shutil.move(here / "core", there / "core")
    return there / "core"


def simulator_environment() -> dict[str, str]:
    """The environment of the tests, with Verilator on PATH."""
    binary, root = verilator.verilator()
    path = os.pathsep.join((str(binary.parent), str(Path(sys.executable).parent), os.environ["PATH"]))
    return os.environ | {"PATH": path, "VERILATOR_ROOT": str(root)}


def need_icarus() -> None:
    if shutil.which("iverilog") is None:
        missing = "iverilog is missing; apt-get install iverilog"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)


def run(folder: Path, *command: str | Path, **environment: str) -> str:
    whole = simulator_environment() | environment
    done = subprocess.run(list(map(str, command)), cwd=folder, env=whole, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_the_testbench_passes_under_icarus_and_finds_what_is_wrong(core, tmp_path):
    need_icarus()
    assert re.search(r"^PASS: 8 frames, \d+ cycles$", run(core / "sim", "make", "icarus"), re.MULTILINE)
    shutil.copytree(core, tmp_path / "core")
    golden = tmp_path / "core/sim/m_axis.hex"
    lines = golden.read_text().split()
    lines[4] = f"{int(lines[4], 16) ^ 1:02x}"
    golden.write_text("\n".join(lines))
    command = ["make", "icarus"]
    done = subprocess.run(command, cwd=tmp_path / "core/sim", capture_output=True, text=True, timeout=300)
    assert done.returncode != 0
    assert re.search(r"FAIL m_axis: frame \d+, beat \d+: ", done.stdout)


def fusesoc(core: Path, folder: Path, tool: str) -> str:
    """What FuseSoC prints when it builds and runs the core's testbench with a tool, in a home of its own."""
    homes = {f"XDG_{kind}_HOME": str(folder / kind) for kind in ("CONFIG", "DATA", "CACHE")}
    what = ("run", "--build-root", folder / "build", "--target", "sim", "--tool", tool, f"bitfabric:nn:{NAME}")
    return run(folder, sys.executable, "-m", "fusesoc.main", "--cores-root", core, *what, **homes)


def test_fusesoc_runs_the_testbench_under_icarus(core, tmp_path):
    need_icarus()
    assert re.search(r"^PASS: 8 frames, \d+ cycles$", fusesoc(core, tmp_path, "icarus"), re.MULTILINE)


@pytest.mark.slow
def test_fusesoc_runs_the_testbench_under_verilator(core, tmp_path):
    assert re.search(r"^PASS: 8 frames, \d+ cycles$", fusesoc(core, tmp_path, "verilator"), re.MULTILINE)


def passed(text: str) -> set[str]:
    """The cocotb tests that passed."""
    assert re.search(r"TESTS=(\d+) PASS=\1 FAIL=0 SKIP=0", text), text[-3000:]
    return set(re.findall(r"\.(\w+) +PASS ", text))


TESTS = {
    "frames_without_stalls", "frames_with_random_stalls", "registers",
    "a_wrong_tlast_is_counted_and_a_reset_starts_anew",
}  # fmt: skip


def test_the_cocotb_tests_pass_under_icarus(core):
    need_icarus()
    assert passed(run(core / "sim", sys.executable, "run_cocotb.py", SIM="icarus")) == TESTS


@pytest.mark.slow
def test_testbench_and_cocotb_tests_pass_under_verilator(core):
    assert re.search(r"^PASS: 8 frames, \d+ cycles$", run(core / "sim", "make", "verilator"), re.MULTILINE)
    assert passed(run(core / "sim", sys.executable, "run_cocotb.py", SIM="verilator")) == TESTS


WRAPPED = """
import sys
from pathlib import Path
from cocotb_tools.runner import get_runner
core, wrapper, top = map(Path, sys.argv[1:])
runner = get_runner("icarus")
runner.build(sources=[core / "NAME.sv", wrapper], hdl_toplevel=top.name, build_args=["-g2012"],
             timescale=("1ns", "1ps"), build_dir=wrapper.parent / "sim_build", always=True)
runner.test(hdl_toplevel=top.name, test_module="test_NAME", test_dir=core / "sim")
""".replace("NAME", NAME)


def wrapped(core: Path, wrapper: Path, top: str) -> set[str]:
    """The cocotb tests of the core that pass with a wrapper of a framework around it."""
    need_icarus()
    return passed(run(wrapper.parent, sys.executable, "-c", WRAPPED, core, wrapper, top))


def port_list(core: Path) -> list[tuple[str, str, int]]:
    described = json.loads((core / f"{NAME}.json").read_text())["signals"]
    return [(each["name"], each["direction"], each["bits"]) for each in described]


@pytest.mark.slow
def test_the_core_in_a_litex_design_passes_the_same_tests(core, tmp_path):
    migen = pytest.importorskip("migen")
    pytest.importorskip("litex")
    from migen.fhdl import verilog

    kind = runpy.run_path(str(core / f"{NAME}_litex.py"))["Digits"]
    ports = {name: migen.Signal(bits, name=name) for name, _, bits in port_list(core)}
    top = kind()
    top.clock_domains.cd_sys = domain = migen.ClockDomain("sys")
    top.comb += [domain.clk.eq(ports["aclk"]), domain.rst.eq(~ports["aresetn"])]
    for port in (top.s_axis, top.m_axis):
        name = "s_axis" if port is top.s_axis else "m_axis"
        pairs = [(getattr(port, part), ports[f"{name}_t{part}"]) for part in ("valid", "data", "last")]
        top.comb += [a.eq(b) if port is top.s_axis else b.eq(a) for a, b in pairs]
        ready = (ports[f"{name}_tready"], port.ready)
        top.comb += ready[0].eq(ready[1]) if port is top.s_axis else ready[1].eq(ready[0])
    top.comb += ports["m_axis_tkeep"].eq((1 << len(ports["m_axis_tkeep"])) - 1)
    for channel, parts, there in (
        ("aw", ("addr",), True), ("w", ("data", "strb"), True), ("b", ("resp",), False),
        ("ar", ("addr",), True), ("r", ("data", "resp"), False),
    ):  # fmt: skip
        endpoint = getattr(top.bus, channel)
        for part in ("valid", "ready", *parts):
            inner, outer = getattr(endpoint, part), ports[f"s_axil_{channel}{part}"]
            top.comb += inner.eq(outer) if there == (part != "ready") else outer.eq(inner)
    (tmp_path / "litex_top.v").write_text(str(verilog.convert(top, set(ports.values()), name="litex_top")))
    assert wrapped(core, tmp_path / "litex_top.v", "litex_top") == TESTS


@pytest.mark.slow
def test_the_core_in_an_amaranth_design_passes_the_same_tests(core, tmp_path):
    from amaranth.back import rtlil
    from amaranth.hdl import ClockDomain, Module, Signal

    kind = runpy.run_path(str(core / f"{NAME}_amaranth.py"))["Digits"]
    ports = {name: Signal(bits, name=name) for name, _, bits in port_list(core)}
    m = Module()
    m.domains.sync = domain = ClockDomain("sync")
    m.submodules.nn = nn = kind()
    m.d.comb += [domain.clk.eq(ports["aclk"]), domain.rst.eq(~ports["aresetn"]), ports["m_axis_tkeep"].eq(~0)]
    for name, port in (("s_axis", nn.s_axis), ("m_axis", nn.m_axis)):
        inner = {"valid": port.valid, "data": port.payload.data, "last": port.payload.last, "ready": port.ready}
        for part, signal in inner.items():
            into = (part != "ready") == (name == "s_axis")
            outer = ports[f"{name}_t{part}"]
            m.d.comb += signal.eq(outer) if into else outer.eq(signal)
    for name, direction, _ in port_list(core):
        if name.startswith("s_axil"):
            inner = getattr(nn, name)
            m.d.comb += inner.eq(ports[name]) if direction == "in" else ports[name].eq(inner)
    text = rtlil.convert(m, name="amaranth_top", ports=list(ports.values()))
    (tmp_path / "top.il").write_text(text)
    yosys.run_script("read_rtlil top.il\nproc\nwrite_verilog -noattr top.v\n", tmp_path, "convert", "conversion")
    assert wrapped(core, tmp_path / "top.v", "amaranth_top") == TESTS


def test_the_document_states_the_ports(core, made):
    described = json.loads((core / f"{NAME}.json").read_text())
    (entry,), (result,) = made.implementation.rtl.inputs.values(), made.implementation.rtl.outputs.values()
    for port, stream in zip(described["streams"], (entry, result), strict=True):
        assert (port["lanes"], port["beats_per_frame"], port["data_bits"]) == (stream.lanes, stream.beats, stream.width)
        assert port["tdata_bits"] == 8 * port["tkeep_bits"] >= stream.width
        assert (port["type"], port["signed"]) == (stream.dtype.name, stream.dtype.signed())
    assert described["interval_cycles"] == made.cycles.interval.estimated
    assert described["model"]["sha256"] == made.model.sha256
    readme = (core / "README.md").read_text()
    assert all(f"`{port['name']}`" in readme for port in described["streams"])
    assert all(f"`{register['name']}`" in readme for register in described["registers"])
    assert "not run by bitfabric" in (core / "vivado/package_ip.tcl").read_text().lower()
    assert "not run by bitfabric" in (core / "quartus/project.tcl").read_text().lower()
    # The sources of the other tools are whole, and name the same ports.
    text = (core / f"{NAME}.sv").read_text()
    assert set(re.findall(r"^module (\w+)", text, re.MULTILINE)) - {NAME} == {
        name for name in re.findall(r"^module (\w+)", text, re.MULTILINE) if name.startswith(f"{NAME}_")
    }
    assert "$readmem" not in re.sub(r"//.*", "", text)
    root = ElementTree.fromstring((core / "component.xml").read_text())
    names = {e.text for e in root.iter("{http://www.accellera.org/XMLSchema/IPXACT/1685-2014}name")}
    assert {name for name, _, _ in port_list(core)} <= names


def test_the_same_memories_are_inferred_from_one_file(made, core, tmp_path):
    """Synthesis finds the same cells in the core's network as in the build's, whose memories are files."""
    device = made.implementation.device
    rtl = made.implementation.rtl
    apart = yosys.synthesise(rtl, device, tmp_path / "apart")
    inner = RtlDesign(f"{NAME}_accelerator", {}, {}, {"core.sv": (core / f"{NAME}.sv").read_text()})
    together = yosys.synthesise(inner, device, tmp_path / "together")
    assert together.cells == apart.cells
    verilator.lint(RtlDesign(NAME, {}, {}, inner.files))


def test_the_c_code_of_a_build_passes_its_test_and_finds_what_is_wrong(made, tmp_path):
    options = ["--name", "net", "--input", str(made.folder.parent / "x.npy"), "--frames", "10"]
    said = CliRunner().invoke(app, ["export-c", str(made.folder), "-o", str(tmp_path / "c"), *options])
    assert said.exit_code == 0, said.output
    folder = shutil.move(tmp_path / "c", tmp_path / "elsewhere")
    assert "PASS: 10 frames" in run(folder, "make", "test", "CFLAGS=-std=c99 -Wall -Wextra -pedantic -Werror")
    x = np.load(made.folder.parent / "x.npy")
    (port,), (result,) = made.graph.inputs, made.graph.outputs
    network = runpy.run_path(str(folder / "run_network.py"))["Network"](folder / "net.json")
    integers = made.graph.encode(x)
    found = network.run(integers)[result.edge].reshape(-1, *made.graph.edges[result.edge].shape)
    np.testing.assert_array_equal(made.graph.decode({result.edge: found}), made.run(x, "qonnx"))
    assert json.loads((folder / "net.json").read_text())["inputs"][0]["name"] == port.name
    source = (folder / "net.c").read_text()
    changed = re.sub(r"(_thresholds\[24\]\[7\] = \{\s*\{)(-?\d+)", lambda m: f"{m[1]}{int(m[2]) + 40}", source)
    assert changed != source
    (folder / "net.c").write_text(changed)
    done = subprocess.run(["make", "test"], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode != 0
    assert re.search(r"^FAIL out_\w+: frame \d+, element \d+: ", done.stdout, re.MULTILINE)


def test_several_streams_wide_beats_and_bad_names_are_refused_or_told(made, tmp_path):
    implementation = made.implementation

    def core(name: str = "a", prefix: str = "a_", design: RtlDesign = implementation.rtl) -> IpCore:
        return IpCore(name, prefix, implementation.hardware, design, 1)

    for name in ("1a", "a b", "module", "", "a" * 65):
        with pytest.raises(UsageError, match=r"^--name .* is no name of a module: letters, digits and _"):
            core(name)
    with pytest.raises(UsageError, match=r"^--prefix 'x-' is no name"):
        core(prefix="x-")
    for name, prefix in (
        ("accelerator", "a_"),
        ("a_accelerator", "a_"),
        ("a_bf_axi_lite", "a_"),
        ("a_memories", "a_"),
        ("bf_axis_frames", "bf_axis_frames_"),
    ):
        with pytest.raises(UsageError, match=rf"^--name '{name}' is also the name of a module inside of the core"):
            _ = core(name, prefix).source
    (stream,) = implementation.rtl.inputs.values()
    wide = RtlDesign("accelerator", {"s": Stream((5000,), stream.dtype, 5000)}, implementation.rtl.outputs, {})
    with pytest.raises(
        BitfabricError, match=r"^x has beats of 20000 bits, and an AXI4-Stream carries at most 4096; build with a lower"
    ):
        core(design=wide)
    own = {"mine.sv": 'module mine;\n  initial $readmemh("x.hex", mem);\nendmodule\n', "accelerator.sv": ""}
    with pytest.raises(BitfabricError, match=r"^mine\.sv reads a memory file in a way that cannot be put into one"):
        _ = core(design=RtlDesign("accelerator", implementation.rtl.inputs, implementation.rtl.outputs, own)).source
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "mine.txt").touch()
    with pytest.raises(UsageError, match="holds files that no export has written; choose another folder"):
        export_ip(made, tmp_path / "used")
    with pytest.raises(UsageError, match="is a file; choose a folder for the core"):
        export_ip(made, tmp_path / "used" / "mine.txt")
    np.save(tmp_path / "bad.npy", np.zeros((3, 5), np.float32))
    with pytest.raises(UsageError, match="frames of shape"):
        export_ip(made, tmp_path / "new", frames=tmp_path / "bad.npy")
    with pytest.raises(UsageError, match=r"^--frames 300: without --input there are 256 frames; ask for at most"):
        export_ip(made, tmp_path / "new", count=300)
    export_ip(made, tmp_path / "new", registers=False, count=4)
    assert "s_axil" not in (tmp_path / "new" / "nn_core.sv").read_text()
    export_ip(made, tmp_path / "new", count=4)  # once more, into the same folder
    assert "s_axil" in (tmp_path / "new" / "nn_core.sv").read_text()
