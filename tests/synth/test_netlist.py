"""Netlists below RTL: the models of the cells, after mapping and after place and route, give what the RTL gives."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from qonnx.core.datatype import DataType

from hw.families import find_device, spec_of
from hw.families.ecp5 import ECP5
from hw.families.gowin import GOWIN
from hw.families.xc7 import XC7
from hw.host.errors import BitfabricError
from hw.ir.stream import Stream
from hw.rtl.design import RtlDesign
from hw.simulation import verilator
from hw.synth import netlist, nextpnr, yosys

BYTE = DataType["UINT8"]


def words(rng: np.random.Generator, count: int, bits: int) -> str:
    return "".join(f"{word:x}\n" for word in rng.integers(0, 1 << bits, count))


def octets(codes: np.ndarray, beats: int) -> np.ndarray:
    """Codes of up to 64 bits as ``beats`` beats a frame of eight octets each."""
    return codes.astype("<u8").view(np.uint8).reshape(-1, beats, 8).astype(np.int64)


@dataclass(frozen=True)
class Zoo:
    """Where the zoo is built, how small it has to be, and which cells it must come out as."""

    device: str
    parameters: dict[str, int]
    dsp: int
    cells: tuple[str, ...]
    placed: bool = True


ZOOS = {
    "ecp5": Zoo("lfe5u-25f", {}, 5, (
        "DP16KD", "MULT18X18D", "TRELLIS_DPR16X4", "TRELLIS_FF", "CCU2C", "LUT4", "PFUMX", "L6MUX21")),
    "ice40": Zoo("ice40up5k", {"SHRINK": 2, "DUAL": 0, "MULT": 16}, 5, (
        "SB_RAM40_4K", "SB_MAC16", "SB_DFFESR", "SB_CARRY", "SB_LUT4")),
    "gowin": Zoo("gw1nr-9c", {}, 10, (
        "SPX9", "SP", "SDPX9B", "DPX9B", "MULT18X18", "RAM16SDP4", "DFFRE", "ALU", "LUT4", "MUX2_LUT6"), placed=False),
    "xc7": Zoo("xc7z020", {}, 6, (
        "RAMB18E1", "RAM32M", "DSP48E1", "FDRE", "CARRY4", "LUT6", "LUT5", "INV"), placed=False),
}  # fmt: skip


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=[pytest.mark.slow] * (name == "xc7")) for name in ZOOS]
)
def zoo(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RtlDesign, Zoo, yosys.Synthesis, list[Path]]:
    rng, which = np.random.default_rng(1), ZOOS[request.param]
    text = (Path(__file__).parent / "cell_zoo.sv").read_text()
    for name, value in which.parameters.items():
        text, count = re.subn(rf"(parameter int {name} += )\d+", rf"\g<1>{value}", text)
        assert count == 1
    shrink = which.parameters.get("SHRINK", 0)
    files = {
        "cell_zoo.sv": text,
        "rom18.hex": words(rng, 1024 >> shrink, 18),
        "rom4.hex": words(rng, 4096 >> shrink, 4),
        "luts.hex": words(rng, 16, 6),
    }
    ports = {"s": Stream((64, 8), BYTE, 8)}, {"m": Stream((64, 63), BYTE, 63)}
    design = RtlDesign("cell_zoo", *ports, files)
    out, part = tmp_path_factory.mktemp("zoo"), find_device(which.device)
    synthesis = yosys.synthesise(design, part, out)
    below = [synthesis.netlist]
    if which.placed:
        below.append(nextpnr.place_and_route(synthesis.netlist, part, out, 20).netlist)
    return design, which, synthesis, below


def test_every_cell_mapped_and_placed_gives_what_the_rtl_gives(zoo) -> None:
    design, which, synthesis, netlists = zoo
    for cell in which.cells:
        assert synthesis.cells.get(cell), f"no {cell} in {synthesis.cells}"
    assert synthesis.resources.dsp == which.dsp
    rng = np.random.default_rng(2)
    count = 40 * 64
    ends = rng.choice([0, 1, 0x1FFFF, 0x20000, 0x3FFFF], (2, count))
    a, b = np.where(rng.random((2, count)) < 0.3, ends, rng.integers(0, 1 << 18, (2, count)))
    address = rng.integers(0, 1 << 14, count) & rng.choice([0x1F, 0x3FFF], count)  # often the same again
    control = rng.integers(0, 16, count)
    frames = octets(a | b << 18 | address << 36 | control << 50, 64)
    ready = rng.random(4 * count) < 0.7
    expected = verilator.build(design).run({"s": frames}, ready={"m": ready})
    assert len(np.unique(expected.outputs["m"].reshape(count, -1), axis=0)) > count // 2
    for path in netlists:
        below = netlist.design(path, synthesis.device.family, design.inputs, design.outputs)
        result = verilator.build(below, ("-O0",)).run({"s": frames}, ready={"m": ready})
        np.testing.assert_array_equal(result.outputs["m"], expected.outputs["m"], err_msg=str(path))
        np.testing.assert_array_equal(result.taken["m"], expected.taken["m"])


TINY = """
`default_nettype none
module tiny (
    input  wire logic clk, input wire logic rst,
    input  wire logic s_valid, output logic s_ready, input wire logic [7:0] s_data,
    output      logic m_valid, input wire logic m_ready, output logic [15:0] m_data
);
  (* rom_style = "block" *) logic [7:0] rom[256];
  (* ram_style = "distributed" *) logic [3:0] luts[16];  // where there is no such RAM, flip-flops or block RAM
  initial begin
    $readmemh("rom.hex", rom);
    $readmemh("luts.hex", luts);
  end
  logic [7:0] word;
  logic [3:0] nibble;
  logic odd;
  assign s_ready = !m_valid || m_ready;
  always_ff @(posedge clk) begin
    if (rst) m_valid <= 1'b0;
    else if (s_ready) m_valid <= s_valid;
    if (s_ready) begin
      word <= rom[s_data];
      nibble <= luts[s_data[3:0]];
      odd <= (s_data[0] & s_data[3]) ^ (s_data[5] | s_data[6]);
      if (&s_data && rst) luts[s_data[7:4]] <= s_data[3:0];
    end
  end
  assign m_data = {3'b0, odd, nibble, word};
endmodule
"""


FLIPS: dict[str, dict[str, tuple[str, Callable[[dict], bool]]]] = {
    "lfe5u-25f": {
        "lookup table": (
            "INITVAL",
            lambda c: c["type"] == "TRELLIS_COMB" and "odd" in c["name"] and "MODE" not in c["parameters"],
        ),
        "RAM in tables": ("INITVAL", lambda c: c["parameters"].get("MODE") == "DPRAM"),
        "block RAM": ("INITVAL_00", lambda c: c["type"] == "DP16KD"),
    },
    "ice40up5k": {
        "lookup table": ("LUT_INIT", lambda c: c["type"] == "ICESTORM_LC" and "odd" in c["name"]),
        "block RAM": ("INIT_0", lambda c: c["type"] == "ICESTORM_RAM" and "rom" in c["name"]),
    },
    "gw1nr-9c": {
        "lookup table": ("INIT", lambda c: c["type"].startswith("LUT") and "odd" in c["name"]),
        "RAM in tables": ("INIT_0", lambda c: c["type"] == "RAM16SDP4"),
        "block RAM": ("INIT_RAM_00", lambda c: c["type"] in ("SP", "SPX9", "SDPB", "SDPX9B", "pROM", "pROMX9")),
    },
}
"""By device, the kinds of cells of which one bit is flipped: the parameter and which cells it is in."""


@pytest.fixture(scope="module", params=list(FLIPS))
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[RtlDesign, Path, str]:
    rng, part = np.random.default_rng(3), find_device(request.param)
    files = {"tiny.sv": TINY, "rom.hex": words(rng, 256, 8), "luts.hex": words(rng, 16, 4)}
    design = RtlDesign("tiny", {"s": Stream((256,), BYTE)}, {"m": Stream((256,), DataType["UINT16"])}, files)
    out = tmp_path_factory.mktemp("tiny")
    mapped = yosys.synthesise(design, part, out).netlist
    below = mapped if part.family == GOWIN else nextpnr.place_and_route(mapped, part, out, 20).netlist
    return design, below, request.param


def flip(cell: dict, parameter: str, bit: int) -> None:
    text = cell["parameters"][parameter]
    cell["parameters"][parameter] = text[: -bit - 1] + "01"[text[-bit - 1] == "0"] + text[len(text) - bit :]


def test_one_flipped_bit_of_a_netlist_is_caught(tiny, tmp_path: Path) -> None:
    design, below, name = tiny
    frames = np.arange(256)[None]
    expected = verilator.build(design).run({"s": frames}).outputs["m"]

    def wrong(path: Path) -> int:
        simulated = netlist.design(path, find_device(name).family, design.inputs, design.outputs)
        return int((verilator.build(simulated, ("-O0",)).run({"s": frames}).outputs["m"] != expected).sum())

    assert wrong(below) == 0
    top, _ = netlist.load(below)
    for kind, (parameter, chosen) in FLIPS[name].items():
        whole = json.loads(below.read_text())
        cells = [cell | {"name": cell_name} for cell_name, cell in whole["modules"][top]["cells"].items()]
        flip(next(cell for cell in cells if chosen(cell)), parameter, 0)
        changed = tmp_path / f"{kind}.json"
        changed.write_text(json.dumps(whole))
        assert wrong(changed) > 0, kind


def test_a_broken_netlist_and_a_family_without_models_are_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cut.json").write_text('{"modules": {"top"')
    for path in (tmp_path / "cut.json", tmp_path / "missing.json"):
        with pytest.raises(BitfabricError, match="cannot read the netlist"):
            netlist.design(path, ECP5)
    monkeypatch.setattr(netlist, "spec_of", lambda family: replace(spec_of(family), dialect=None, models=None))
    with pytest.raises(BitfabricError, match="no cell models for xc7"):
        netlist.models(XC7)
