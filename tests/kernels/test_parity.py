"""Parity of constants in block RAM: nothing else changes, and every use of a word with a wrong parity is counted."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from qonnx.core.datatype import DataType

from hw.boards import virtual
from hw.boards.image import format_of, image
from hw.boards.targets import find_target
from hw.boards.virtual import VirtualBoard
from hw.families import families, find_family, reference_device
from hw.families.ecp5 import ECP5
from hw.host.driver import Driver
from hw.ir.graph import Graph
from hw.ir.kernel import Kernel
from hw.ir.stream import Stream
from hw.kernels.depthwise.kernel import Depthwise
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.requant.kernel import Requant
from hw.kernels.shared.weight_memory import LUTS_PER_BLOCK, WeightMemory
from hw.kernels.threshold.kernel import Threshold
from hw.rtl.design import RtlDesign, generate
from hw.simulation import verilator
from hw.synth import netlist, yosys
from tests.kernels.kernel_bench import alone, check, random_frames, synthesised
from tests.kernels.test_matrix_vector import weights_of

DELAY = 40
"""Cycles after an output beat in which the count of parity errors is looked at: all checks are done."""


def dense(weight: str, data: str, mh: int, mw: int, pe: int, simd: int, prefix: tuple[int, ...] = ()) -> Kernel:
    weights = weights_of(weight, (mh, mw), np.random.default_rng(mh))
    return MatrixVector(weights, DataType[weight], DataType[data], prefix, pe, simd).with_parity()


def depthwise(pixels: int = 1) -> Kernel:
    weights = np.random.default_rng(9).integers(-8, 8, (140, 9))
    return Depthwise(
        weights, DataType["INT4"], DataType["UINT8"], (2,), 140 if pixels > 1 else 1, None, pixels
    ).with_parity()


def threshold(channels: int, bits: int) -> Kernel:
    rng = np.random.default_rng(10)
    bounds = np.sort(rng.integers(-(2**15), 2**15, (channels, (1 << bits) - 1)), axis=1)
    types = DataType["INT16"], DataType[f"UINT{bits}"]
    return Threshold(bounds, np.zeros(channels, bool), *types, (2,), 2).with_parity()


def requant() -> Kernel:
    multiplier, addend = np.random.default_rng(11).integers(-(2**12), 2**12, (2, 512))
    return Requant(
        multiplier, addend, 16, "ROUND", DataType["INT16"], DataType["INT8"], -128, 127, (2,), 2
    ).with_parity()


# One tile, several, rows of them, a deep memory, one whose last row has a shape of its own, and other data paths.
KERNELS = {
    "one tile": dense("BIPOLAR", "BIPOLAR", 16, 128, 2, 4, (2,)),
    "slices": dense("BIPOLAR", "UINT2", 16, 640, 2, 40),
    "rows": dense("BIPOLAR", "BIPOLAR", 88, 450, 2, 18),
    "deep": dense("INT4", "INT8", 74, 300, 2, 5),
    "multipliers": dense("INT8", "INT8", 4, 520, 2, 4),
    "numbers by signs": dense("INT6", "BIPOLAR", 30, 64, 2, 4),
    "depthwise": depthwise(),
    "threshold": threshold(256, 3),
    "deep thresholds": threshold(36, 8),
    "requant": requant(),
}


def each_of(*fast: str) -> pytest.MarkDecorator:
    """All kernels; the others are slow."""
    names = [n if n in fast else pytest.param(n, marks=pytest.mark.slow) for n in KERNELS]
    return pytest.mark.parametrize("name", names)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5000), st.integers(1, 90), st.sampled_from(sorted(families())), st.integers(0, 2**32))
@example(1537, 82, "ice40", 0)  # with parity in other tiles, of fewer blocks and more rows
def test_every_word_in_block_ram_has_an_odd_number_of_ones(depth: int, width: int, name: str, seed: int) -> None:
    family, plain = find_family(name), WeightMemory(depth, width)
    memory = plain.with_parity(family)
    rows = np.random.default_rng(seed).integers(0, 2, (depth, width))
    assert (memory.style(family), memory.latency) == (plain.style(family), plain.latency)
    if memory.style(family) == "logic":
        assert memory is plain
        return
    tiles = memory.tiles(family)
    costs = [
        LUTS_PER_BLOCK * each.blocks(of) + each.width * (of.rows - 1)
        for each, of in ((plain, plain.tiles(family)), (memory, tiles))
    ]
    assert costs == sorted(costs)
    files, words = iter(memory.contents(rows, family)), []
    for row in range(tiles.rows):
        bits = tiles.bits if row < tiles.rows - 1 else tiles.last_bits
        slices = [next(files) for _ in range(-(-(width + 1) // bits))]
        assert sum(each.width for each in slices) == width + 1
        rows_of_parts = zip(*(each.words for each in slices), strict=True)
        words += [sum(part << i * bits for i, part in enumerate(parts)) for parts in rows_of_parts]
    assert all(word.bit_count() % 2 == 1 for word in words)
    assert [word % (1 << width) for word in words] == [sum(int(b) << i for i, b in enumerate(row)) for row in rows]


@each_of("one tile", "threshold")
def test_parity_changes_neither_integers_nor_cycles(name: str) -> None:
    kernel, rng = KERNELS[name], np.random.default_rng(1)
    plain = replace(kernel, parity=False)
    assert kernel.has_parity(ECP5)
    assert not plain.has_parity(ECP5)
    assert kernel.schedule().latency == plain.schedule().latency
    check(alone(kernel), {"in0": random_frames(kernel.inputs()[0], 2, rng)}, rng)


def test_what_has_no_parity_is_as_if_there_were_none() -> None:
    small = alone(dense("BIPOLAR", "BIPOLAR", 4, 8, 2, 4))  # in lookup tables
    plain = small.with_kernels({"dut": replace(small.nodes[0].kernel, parity=False)})
    design = generate(small, ECP5)
    assert design == generate(plain, ECP5)
    assert not design.parity
    assert ".PARITY(0)" in design.files["accelerator.sv"]
    assert ".parity_error()" in design.files["accelerator.sv"]
    assert generate(alone(KERNELS["rows"]), ECP5).parity


def watched(graph: Graph) -> RtlDesign:
    """The design with a second output that tells, DELAY cycles after every beat, how many parity errors there were."""
    design = generate(graph, ECP5)
    s, m = design.inputs["s"], design.outputs["m"]
    text = f"""
module watch (
    input wire logic clk, input wire logic rst,
    input wire logic s_valid, output logic s_ready, input wire logic [{s.width - 1}:0] s_data,
    output logic m_valid, input wire logic m_ready, output logic [{m.width - 1}:0] m_data,
    output logic u_valid, input wire logic u_ready, output logic [31:0] u_data
);
  logic parity_error;
  logic [{DELAY}:0] moved;
  accelerator dut (.*);
  assign u_valid = moved[{DELAY}];
  always_ff @(posedge clk) begin
    moved <= {{moved[{DELAY - 1}:0], m_valid && m_ready && !rst}};
    u_data <= rst ? '0 : u_data + 32'(parity_error);
  end
endmodule
"""
    outputs = {"m": m, "u": Stream((m.beats,), DataType["UINT32"])}
    return RtlDesign("watch", {"s": s}, outputs, design.files | {"watch.sv": text})


def flipped(built: Path, folder: Path, file: str, word: int, bit: int) -> Path:
    """A copy of a simulator with one bit of one memory file flipped."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(built, folder)
    words = (folder / file).read_text().split()
    words[word] = f"{int(words[word], 16) ^ 1 << bit:x}"
    (folder / file).write_text("\n".join(words))
    return folder


def uses(kernel: Kernel, file: int, word: int, outputs: np.ndarray) -> int:
    """How often a word is used where the kernel gives these outputs: once for each vector, or, of thresholds, where the
    search comes by. Their memories in lookup tables have no parity."""
    vectors = 3 * int(np.prod(kernel.prefix))
    if not isinstance(kernel, Threshold):
        return vectors
    parameters = kernel.rtl(ECP5).parameters
    stage = int(np.searchsorted(parameters["FIRST"], file, "right")) - 1
    if not parameters["BLOCK"] >> stage & 1:
        return 0
    if stage == 0:
        return vectors
    lane, tile = divmod(file - parameters["FIRST"][stage], parameters["FILES"][stage])
    if parameters["FILES"][stage] > 1:
        slices = -(-(parameters["WORD"] + 1) // parameters["BITS"][stage])
        word += tile // slices * parameters["ROW"][stage]
    group, code = word >> stage, word % (1 << stage)
    found = outputs[..., group * kernel.pe + lane].astype(int) >> kernel.code_bits - stage
    return int((found == code).sum())


@each_of("depthwise", "threshold")
def test_each_use_of_a_wrong_word_is_counted(name: str, tmp_path: Path) -> None:
    kernel, rng = KERNELS[name], np.random.default_rng(2)
    design = watched(alone(kernel))
    simulator = verilator.build(design)
    frames = random_frames(kernel.inputs()[0], 3, rng)
    (expected,) = kernel.execute(frames)
    whole = simulator.run({"s": frames})
    np.testing.assert_array_equal(whole.outputs["m"], expected)
    assert not whole.outputs["u"].any()
    ((parameter, memories),) = kernel.rtl(ECP5).memories.items()
    several = isinstance(memories, tuple)
    total = 0
    for which in ("first", "last", *["any"] * 4):
        number = {"first": 0, "last": -1}.get(which, int(rng.integers(len(memories)))) if several else 0
        memory = memories[number] if several else memories
        word, bit = {"first": (0, 0), "last": (-1, -1)}.get(which, rng.integers((len(memory.words), memory.width)))
        word, bit, number = word % len(memory.words), bit % memory.width, number % (len(memories) if several else 1)
        file = f"u0_dut_{parameter.lower()}{number if several else ''}.hex"
        folder = flipped(simulator.folder, tmp_path / "sim", file, word, bit)
        got = replace(simulator, folder=folder).run({"s": frames})
        assert got.outputs["u"].max() == uses(kernel, number, word, expected)
        np.testing.assert_array_equal(got.taken["m"], whole.taken["m"])
        total += got.outputs["u"].max()
    assert total > 0


def test_an_image_tells_of_wrong_words_on_the_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, rng = KERNELS["one tile"], np.random.default_rng(3)
    made = image(generate(alone(kernel), ECP5), find_target("ulx3s-85f"), 75, 5)
    verilator.lint(made.design)
    frames = random_frames(kernel.inputs()[0], 6, rng)
    forms = [format_of(kernel.inputs()[0])], [format_of(kernel.outputs()[0])]
    with VirtualBoard(made) as board:
        built = Path(board._process.args[0]).parent
        link = Driver(board, *forms, 5, timeout=0.001)
        np.testing.assert_array_equal(link.run(frames)[0], kernel.execute(frames)[0])
        counters = link.status().counters
        assert (counters["frames"], counters["parity_errors"]) == (6, 0)
    folder = flipped(built, tmp_path / "board", "u0_dut_weights0.hex", 100, 3)
    monkeypatch.setattr(virtual, "executable", lambda *given: folder)
    with VirtualBoard(made) as board:
        link = Driver(board, *forms, 5, timeout=0.001)
        assert np.any(link.run(frames)[0] != kernel.execute(frames)[0])
        assert link.status().counters["parity_errors"] == 6 * 2


@pytest.mark.parametrize("count", [1, pytest.param(9, marks=pytest.mark.slow)])
def test_synthesis_keeps_the_parity_bits(count: int, tmp_path: Path) -> None:
    kernel, rng = KERNELS["one tile"], np.random.default_rng(4)
    graph = alone(kernel)
    design = watched(graph)
    made = yosys.synthesise(design, reference_device(ECP5), tmp_path)
    top, module = netlist.load(made.netlist)
    (block,) = [name for name, cell in module["cells"].items() if cell["type"] == "DP16KD"]
    frames = random_frames(kernel.inputs()[0], 2, rng)
    (expected,) = kernel.execute(frames)

    def run(path: Path) -> tuple[int, int]:
        placed = netlist.design(path, ECP5, design.inputs, design.outputs)
        outputs = verilator.build(placed, ("-O0",)).run({"s": frames}).outputs
        return int((outputs["m"] != expected).sum()), int(outputs["u"].max())

    if count > 1:
        assert run(made.netlist) == (0, 0)
    unchanged = []
    for bit in range(count):
        whole = json.loads(made.netlist.read_text())
        parameters = whole["modules"][top]["cells"][block]["parameters"]
        text = parameters["INITVAL_00"]
        parameters["INITVAL_00"] = text[: -bit - 1] + "01"[text[-bit - 1] == "0"] + text[len(text) - bit :]
        (tmp_path / "flipped.json").write_text(json.dumps(whole))
        wrong, parity_errors = run(tmp_path / "flipped.json")
        assert parity_errors == 2 * 2
        unchanged += [bit] if wrong == 0 else []
    assert len(unchanged) == count // 9, "of nine bits of a word, one is the parity"


@each_of()
def test_parity_costs_what_the_model_says(name: str, tmp_path: Path) -> None:
    estimate = KERNELS[name].resources(ECP5)
    used = synthesised(KERNELS[name], ECP5, tmp_path)
    assert (used.bram, used.dsp) == (estimate.bram, estimate.dsp)
    assert used.lut == pytest.approx(estimate.lut, rel=0.15, abs=15)
    assert used.ff == pytest.approx(estimate.ff, rel=0.15)
