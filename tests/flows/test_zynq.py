"""The exported core in a Zynq, as far as it goes without Vivado and a board.

The module between DMA and core is simulated, the Tcl script runs in an interpreter whose Vivado commands only note how
they were called, and the driver's octets are held against the golden frames.
"""

import importlib.util
import json
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from qonnx.core.datatype import DataType

from flows import build
from flows.exporting import export_ip
from hw.ip_core import zynq
from hw.ir.stream import Stream
from hw.rtl.design import RtlDesign
from hw.simulation import verilator

tkinter = pytest.importorskip("tkinter")
NAME, FRAMES = "digits", 12


@pytest.fixture(scope="module")
def core(small, tmp_path_factory) -> Path:
    """The folder of a core."""
    folder = tmp_path_factory.mktemp("zynq")
    made = build(small / "model.onnx", "xc7z020", folder / "build", fps=1e6, stop_after="rtl", rtl_frames=2)
    export_ip(made, folder / "core", NAME, frames=small / "x.npy", count=FRAMES)
    return folder / "core"


def streams(core: Path) -> tuple[dict, dict]:
    entry, result = json.loads((core / f"{NAME}.json").read_text())["streams"]
    return entry, result


def golden(core: Path, port: str) -> np.ndarray:
    """The beats of the testbench's frames as numbers."""
    return np.array([int(word, 16) for word in (core / "sim" / f"{port}.hex").read_text().split()])


TOP = """
module top (
    input wire logic clk, input wire logic rst,
    input wire logic s_valid, output logic s_ready, input wire logic [{i}:0] s_data,
    output logic m_valid, input wire logic m_ready, output logic [{o}:0] m_data
);
  logic in_valid, in_ready, in_last, out_valid, out_ready, out_last, wrong, told;
  logic [{i}-1:0] in_data;
  logic [{o}-1:0] out_data;
  logic [{i}/8-1:0] in_keep;
  logic [{o}/8-1:0] out_keep, keep;
  {name}_packets packets (
      .aclk(clk), .aresetn(!rst),
      .from_dma_tvalid(s_valid), .from_dma_tready(s_ready), .from_dma_tdata(s_data[{i}-1:0]),
      .from_dma_tkeep('1), .from_dma_tlast(s_data[{i}]),
      .to_core_tvalid(in_valid), .to_core_tready(in_ready), .to_core_tdata(in_data), .to_core_tkeep(in_keep),
      .to_core_tlast(in_last),
      .from_core_tvalid(out_valid), .from_core_tready(out_ready), .from_core_tdata(out_data),
      .from_core_tkeep(out_keep), .from_core_tlast(out_last),
      .to_dma_tvalid(m_valid), .to_dma_tready(m_ready), .to_dma_tdata(m_data[{o}-1:0]), .to_dma_tkeep(keep),
      .to_dma_tlast(told)
  );
  {name} core (
      .aclk(clk), .aresetn(!rst),
      .s_axis_tvalid(in_valid), .s_axis_tready(in_ready), .s_axis_tdata(in_data), .s_axis_tkeep(in_keep),
      .s_axis_tlast(in_last),
      .m_axis_tvalid(out_valid), .m_axis_tready(out_ready), .m_axis_tdata(out_data), .m_axis_tkeep(out_keep),
      .m_axis_tlast(out_last),
      .s_axil_awvalid(1'b0), .s_axil_awready(), .s_axil_awaddr('0), .s_axil_awprot('0), .s_axil_wvalid(1'b0),
      .s_axil_wready(), .s_axil_wdata('0), .s_axil_wstrb('0), .s_axil_bvalid(), .s_axil_bready(1'b0), .s_axil_bresp(),
      .s_axil_arvalid(1'b0), .s_axil_arready(), .s_axil_araddr('0), .s_axil_arprot('0), .s_axil_rvalid(),
      .s_axil_rready(1'b0), .s_axil_rdata(), .s_axil_rresp(),
      .frame_error(wrong)
  );
  logic failed;  // a TLAST that the core did not expect spoils all results
  always_ff @(posedge clk) failed <= !rst && (failed || wrong);
  assign m_data[{o}] = told ^ failed;
endmodule
"""


@pytest.mark.parametrize("packets", [(FRAMES,), (1,) * FRAMES, (3, 1, 6, 2)])
def test_a_packet_of_frames_gives_a_packet_of_results(core: Path, packets: tuple[int, ...]) -> None:
    entry, result = streams(core)
    widths = entry["tdata_bits"], result["tdata_bits"]
    text = TOP.format(i=widths[0], o=widths[1], name=NAME)
    files = {f"{NAME}.sv": (core / f"{NAME}.sv").read_text(), "top.sv": text}
    files["packets.sv"] = (core / f"vivado/{NAME}_packets.v").read_text()
    beats = entry["beats_per_frame"], result["beats_per_frame"]
    ports = [Stream((n,), DataType[f"UINT{w + 1}"], 1) for n, w in zip(beats, widths, strict=True)]
    design = RtlDesign("top", {"s": ports[0]}, {"m": ports[1]}, files)
    ends = np.zeros(FRAMES, int)
    ends[np.cumsum(packets) - 1] = 1

    def words(port: str, count: int, width: int) -> np.ndarray:
        """Beats with TLAST in the top bit, on the last beat of a packet."""
        found = golden(core, port).reshape(FRAMES, count)
        found[:, -1] |= ends << width
        return found

    sent, expected = words("s_axis", beats[0], widths[0]), words("m_axis", beats[1], widths[1])
    rng = np.random.default_rng(len(packets))
    offers = np.cumsum(rng.integers(0, 3, sent.size))
    ready = rng.random(20_000) < 0.6
    got = verilator.build(design).run({"s": sent}, {"s": offers.astype(np.uint64)}, {"m": ready})
    np.testing.assert_array_equal(got.outputs["m"], expected)
    # Nothing of the next packet enters before the last result of the one before has left.
    last_results = got.taken["m"].reshape(FRAMES, -1)[:, -1]
    first_beats = got.taken["s"].reshape(FRAMES, -1)[:, 0]
    borders = np.flatnonzero(ends[:-1])
    assert np.all(first_beats[borders + 1] > last_results[borders])


VIVADO = """
set calls {}
proc unknown {args} { lappend ::calls $args; return [lindex $args end] }
proc get_property {what run} { return [expr {$what eq "PROGRESS" ? "100%" : 0.1}] }
foreach name {project flow} { package provide ::quartus::$name 1.0 }
proc glob {args} { return [lindex $args end] }
rename file _file
proc file {what args} {
    if {$what eq "copy"} { lappend ::calls [concat file copy $args]; return }
    uplevel 1 [list _file $what {*}$args]
}
set argv {}
"""


def evaluated(script: Path, arguments: str = "") -> list[tuple[str, ...]]:
    """The Vivado commands that a script gives, as an interpreter of Tcl calls them."""
    tcl = tkinter.Tcl()
    tcl.eval(VIVADO)
    tcl.eval(f"set argv {{{arguments}}}")
    tcl.eval(f"source {{{script}}}")
    return [tuple(tcl.splitlist(call)) for call in tcl.splitlist(tcl.eval("set calls"))]


def test_the_script_connects_everything_once(core: Path) -> None:
    calls = evaluated(core / "vivado/zynq.tcl", "xc7z010clg400-1")
    assert ("create_project", "zynq", f"{core}/vivado/zynq", "-part", "xc7z010clg400-1", "-force") in calls
    cells = {call[-1] for call in calls if call[0] == "create_bd_cell"}
    assert cells == {"ps7", "reset", "dma", "widen", "narrow", "packets", "core", "control", "memory"}
    for call in calls:
        if call[0] == "get_bd_cells":
            assert call[1] in cells
    nets = [call[1:] for call in calls if call[0] == "connect_bd_intf_net"]
    pins = [pin for net in nets for pin in net]
    assert len(pins) == len(set(pins))
    assert {pin.split("/")[0] for pin in pins} == cells - {"reset"}
    entry, result = streams(core)
    assert {f"core/{entry['name']}", f"core/{result['name']}", "core/s_axil"} <= set(pins)
    wires = [call[1:] for call in calls if call[0] == "connect_bd_net"]
    driven = [sink for _, sink in wires]
    assert len(driven) == len(set(driven))
    clocked = {sink.split("/")[0] for source, sink in wires if source == "ps7/FCLK_CLK0"}
    held = {sink.split("/")[0] for source, sink in wires if source == "reset/peripheral_aresetn"}
    assert clocked == cells
    assert held == cells - {"ps7", "reset"}
    settings = {str(call) for call in calls if call[0] == "set_property"}
    converters = [text for text in settings if "TDATA_NUM_BYTES" in text]
    assert any(f"CONFIG.M_TDATA_NUM_BYTES {entry['tkeep_bits']} " in text for text in converters)
    assert any(f"CONFIG.S_TDATA_NUM_BYTES {result['tkeep_bits']} " in text for text in converters)
    copied = [call[-1] for call in calls if call[:2] == ("file", "copy")]
    assert copied == [f"{core}/vivado/{NAME}.bit", f"{core}/vivado/{NAME}.hwh"]
    for script in ("vivado/zynq.tcl", f"zynq/run_{NAME}.py"):
        assert "Not run by bitfabric's authors" in (core / script).read_text()


@pytest.mark.parametrize("script", ["vivado/package_ip.tcl", "quartus/project.tcl"])
def test_the_other_scripts_are_whole(core: Path, script: str) -> None:
    assert len(evaluated(core / script)) > 5


def test_the_converters_hold_every_width() -> None:
    for octets in range(1, 513):
        width = zynq._dma_octets(octets)
        assert width in (1, 2, 4, 8)
        assert np.lcm(width, octets) <= 512


class Dma:
    """The double of PYNQ's DMA: it takes the golden octets, and gives those of the results."""

    def __init__(self, sent: bytes, results: bytes) -> None:
        self.sent, self.results, self.taken = sent, results, b""
        self.sendchannel = self.recvchannel = self

    def transfer(self, buffer: np.ndarray) -> None:
        if buffer.ndim == 1:
            self.taken += buffer.tobytes()
            assert self.sent.startswith(self.taken)
        else:
            buffer[:] = np.frombuffer(self.results[: buffer.size], np.uint8).reshape(buffer.shape)
            self.results = self.results[buffer.size :]

    def wait(self) -> None:
        pass


@pytest.mark.parametrize("most", [1 << 20, 40])
def test_the_driver_sends_and_reads_the_golden_frames(core: Path, small, monkeypatch, most: int) -> None:
    """``most`` octets in a transfer: all frames at once, or a few."""
    entry, result = streams(core)

    def octets(port: dict) -> bytes:
        return b"".join(int(word).to_bytes(port["tkeep_bits"], "little") for word in golden(core, port["name"]))

    class Buffer(np.ndarray):
        def freebuffer(self) -> None:
            pass

    dma = Dma(octets(entry), octets(result))
    model = int(json.loads((core / f"{NAME}.json").read_text())["model"]["sha256"][:16], 16)
    registers = {0x08: model & 0xFFFFFFFF, 0x0C: model >> 32}
    board = types.SimpleNamespace(dma=dma, core=types.SimpleNamespace(read=registers.__getitem__))
    pynq = types.ModuleType("pynq")
    pynq.Overlay = lambda file: board
    pynq.allocate = lambda shape, kind: np.zeros(shape, kind).view(Buffer)
    monkeypatch.setitem(sys.modules, "pynq", pynq)
    monkeypatch.syspath_prepend(str(core / "zynq"))
    spec = importlib.util.spec_from_file_location("driver", core / f"zynq/run_{NAME}.py")
    driver = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(driver)
    monkeypatch.setattr(driver, "MOST_OCTETS", most)
    x = np.load(small / "x.npy")[:FRAMES]
    (got,) = driver.Network().run(x).values()
    assert dma.taken == dma.sent
    made = build(small / "model.onnx", "xc7z020", core.parent / "build", fps=1e6, stop_after="rtl", rtl_frames=2)
    np.testing.assert_array_equal(got, made.run(x, "qonnx"))
    registers[0x08] ^= 1
    with pytest.raises(RuntimeError, match="holds another network"):
        driver.Network()
    for name in [name for name in sys.modules if name == "host" or name.startswith("host.")]:
        monkeypatch.delitem(sys.modules, name)


def test_a_core_of_several_streams_has_no_block_design(core: Path) -> None:
    one, two = types.SimpleNamespace(entry=True), types.SimpleNamespace(entry=False)
    assert zynq.fits(types.SimpleNamespace(streams=(one, two)))
    assert not zynq.fits(types.SimpleNamespace(streams=(one, one, two)))
    assert re.search(r"`vivado/zynq\.tcl`", (core / "README.md").read_text())
