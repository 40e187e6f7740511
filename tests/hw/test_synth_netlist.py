"""Netlists below RTL: the models of the cells, after mapping and after place and route, give what the RTL gives."""

import json
from pathlib import Path

import numpy as np
import pytest
from qonnx.core.datatype import DataType

from hw import simulate
from hw.errors import BitfabricError
from hw.rtl import Design
from hw.stream import Stream
from hw.synth import netlist, nextpnr, yosys
from hw.synth.devices import device
from hw.synth.family import ECP5, XC7

BYTE = DataType["UINT8"]


def words(rng: np.random.Generator, count: int, bits: int) -> str:
    return "".join(f"{word:x}\n" for word in rng.integers(0, 1 << bits, count))


def octets(codes: np.ndarray, beats: int) -> np.ndarray:
    """Codes of up to 64 bits as ``beats`` beats a frame of eight octets each."""
    return codes.astype("<u8").view(np.uint8).reshape(-1, beats, 8).astype(np.int64)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Design, yosys.Synthesis, nextpnr.Placement]:
    rng = np.random.default_rng(1)
    files = {
        "cell_zoo.sv": (Path(__file__).parent / "cell_zoo.sv").read_text(),
        "rom18.hex": words(rng, 1024, 18),
        "rom4.hex": words(rng, 4096, 4),
        "luts.hex": words(rng, 16, 6),
    }
    ports = {"s": Stream((64, 8), BYTE, 8)}, {"m": Stream((64, 59), BYTE, 59)}
    design = Design("cell_zoo", *ports, files)
    out = tmp_path_factory.mktemp("zoo")
    synthesis = yosys.synthesise(design, ECP5, out)
    return design, synthesis, nextpnr.place_and_route(synthesis.netlist, device("lfe5u-25f"), out, 50)


def test_every_cell_mapped_and_placed_gives_what_the_rtl_gives(zoo) -> None:
    design, synthesis, placement = zoo
    for cell in ("DP16KD", "MULT18X18D", "TRELLIS_DPR16X4", "TRELLIS_FF", "CCU2C", "LUT4", "PFUMX", "L6MUX21"):
        assert synthesis.cells.get(cell), f"no {cell} in {synthesis.cells}"
    assert synthesis.resources.dsp == 4
    rng = np.random.default_rng(2)
    count = 40 * 64
    ends = rng.choice([0, 1, 0x1FFFF, 0x20000, 0x3FFFF], (2, count))
    a, b = np.where(rng.random((2, count)) < 0.3, ends, rng.integers(0, 1 << 18, (2, count)))
    address = rng.integers(0, 1 << 14, count) & rng.choice([0x1F, 0x3FFF], count)  # often the same again
    control = rng.integers(0, 16, count)
    frames = octets(a | b << 18 | address << 36 | control << 50, 64)
    ready = rng.random(4 * count) < 0.7
    expected = simulate.build(design).run({"s": frames}, ready={"m": ready})
    assert len(np.unique(expected.outputs["m"].reshape(count, -1), axis=0)) > count // 2
    for path in (synthesis.netlist, placement.netlist):
        below = netlist.design(path, design.inputs, design.outputs)
        result = simulate.build(below, ("-O0",)).run({"s": frames}, ready={"m": ready})
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
  (* ram_style = "distributed" *) logic [3:0] luts[16];
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


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Design, Path]:
    rng = np.random.default_rng(3)
    files = {"tiny.sv": TINY, "rom.hex": words(rng, 256, 8), "luts.hex": words(rng, 16, 4)}
    design = Design("tiny", {"s": Stream((256,), BYTE)}, {"m": Stream((256,), DataType["UINT16"])}, files)
    out = tmp_path_factory.mktemp("tiny")
    placed = nextpnr.place_and_route(yosys.synthesise(design, ECP5, out).netlist, device("lfe5u-25f"), out, 50)
    return design, placed.netlist


def flip(cell: dict, parameter: str, bit: int) -> None:
    text = cell["parameters"][parameter]
    cell["parameters"][parameter] = text[: -bit - 1] + "01"[text[-bit - 1] == "0"] + text[len(text) - bit :]


def test_one_flipped_bit_of_a_placed_netlist_is_caught(tiny, tmp_path: Path) -> None:
    design, placed = tiny
    frames = np.arange(256)[None]
    expected = simulate.build(design).run({"s": frames}).outputs["m"]

    def wrong(path: Path) -> int:
        below = netlist.design(path, design.inputs, design.outputs)
        return int((simulate.build(below, ("-O0",)).run({"s": frames}).outputs["m"] != expected).sum())

    assert wrong(placed) == 0
    top, _ = netlist.load(placed)
    kinds = {
        "lookup table": lambda c: c["type"] == "TRELLIS_COMB" and "odd" in c["name"] and "MODE" not in c["parameters"],
        "RAM in tables": lambda c: c["parameters"].get("MODE") == "DPRAM",
        "block RAM": lambda c: c["type"] == "DP16KD",
    }
    for kind, chosen in kinds.items():
        whole = json.loads(placed.read_text())
        cells = [cell | {"name": name} for name, cell in whole["modules"][top]["cells"].items()]
        cell = next(cell for cell in cells if chosen(cell))
        flip(cell, "INITVAL_00" if kind == "block RAM" else "INITVAL", 1)
        changed = tmp_path / f"{kind}.json"
        changed.write_text(json.dumps(whole))
        assert wrong(changed) > 0, kind


def test_a_broken_netlist_and_a_family_without_models_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "cut.json").write_text('{"modules": {"top"')
    for path in (tmp_path / "cut.json", tmp_path / "missing.json"):
        with pytest.raises(BitfabricError, match="cannot read the netlist"):
            netlist.design(path)
    with pytest.raises(BitfabricError, match="no cell models for xc7"):
        netlist.models(XC7)
