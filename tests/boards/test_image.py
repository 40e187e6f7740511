"""The whole image: clock, link and a small accelerator, through place and route to a bitstream and a placed netlist."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from qonnx.core.datatype import DataType

from hw.boards.image import SCOPE, Image, format_of, image
from hw.boards.targets import find_target
from hw.boards.virtual import VirtualBoard
from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.families import find_device
from hw.families.gowin import GOWIN
from hw.host.driver import Driver
from hw.host.errors import BitfabricError
from hw.ir.stream import Stream
from hw.kernels.width_converter.kernel import WidthConverter
from hw.rtl.design import generate
from hw.synth import netlist, nextpnr, tool, yosys
from hw.synth.pll import solve
from tests.kernels.kernel_bench import alone, random_frames

MODEL = 0xFEDCBA9876543210
CLOCK = {"ulx3s-25f": 75.0, "icebreaker": 30.0, "tangnano9k": 54.0}
FASTEST = {"ulx3s-25f": 120, "icebreaker": 32, "tangnano9k": 75}
"""MHz that an image with next to no accelerator must reach: the shell must not be what limits a design."""
LARGEST = {"ulx3s-25f": 1600, "icebreaker": 1600, "tangnano9k": 1600}
"""Lookup tables of the shell."""


@dataclass(frozen=True)
class Built:
    """An image on its way."""

    board: str
    image: Image
    synthesis: yosys.Synthesis
    placement: nextpnr.Placement
    bitstream: Path

    @property
    def family(self) -> Family:
        return self.synthesis.device.family


def build(board: str, out: Path) -> Built:
    target = find_target(board)
    family = target.device.family
    kernel = WidthConverter(Stream((6,), DataType["INT3"], 2), 6)
    design = image(generate(alone(kernel), family), target, CLOCK[board], MODEL)
    synthesis = yosys.synthesise(design.design, target.device, out, SCOPE)
    target.device.check_fit(synthesis.resources)
    placement = nextpnr.place_and_route(synthesis.netlist, target.device, out, design.clock_mhz, design.pins)
    return Built(board, design, synthesis, placement, nextpnr.pack(placement))


@pytest.fixture(
    scope="module",
    params=["ulx3s-25f", *(pytest.param(name, marks=pytest.mark.slow) for name in ("icebreaker", "tangnano9k"))],
)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(request.param, tmp_path_factory.mktemp("image"))


def test_the_placed_image_computes_what_the_accelerator_computes(built: Built) -> None:
    design, synthesis, placement = built.image, built.synthesis, built.placement
    assert placement.met
    assert placement.fmax_mhz > FASTEST[built.board], "the shell must not be what limits a design"
    assert synthesis.instances["u0_dut"] != Resources()
    assert synthesis.resources.lut < LARGEST[built.board], "the shell has grown"
    assert synthesis.logic_cells is not None
    if built.family != GOWIN:  # its report does not count flip-flops in cells of their own
        assert 0.93 * placement.resources.lut <= synthesis.logic_cells <= placement.resources.lut
    frames = random_frames(design.accelerator.inputs["s"], 8, np.random.default_rng(0))
    below = synthesis.netlist if built.family == GOWIN else placement.netlist
    with VirtualBoard(design, netlist.design(below, built.family)) as board:
        entry, result = format_of(design.accelerator.inputs["s"]), format_of(design.accelerator.outputs["m"])
        link = Driver(board, [entry], [result], MODEL, timeout=0.001)
        np.testing.assert_array_equal(link.run(frames)[0], frames)
        status = link.status()
    hertz = round(design.clock_mhz * 1e6)
    assert (status.frames, status.errors, status.clock_hz, status.model) == (8, 0, hertz, MODEL)


def test_a_bitstream_unpacked_and_packed_again_is_the_same(built: Built, tmp_path: Path) -> None:
    tools = nextpnr.toolchain(built.synthesis.device)
    if tools.unpacker is None:
        pytest.skip("gowin_unpack gives no netlist that gowin_pack takes")
    (tmp_path / "a.bit").write_bytes(built.bitstream.read_bytes())
    steps = ((tools.unpacker, [], "a.bit", "a.txt"), (tools.packer, tools.pack_options, "a.txt", "b.bit"))
    for each, options, source, product in steps:
        log = tmp_path / f"{each.name}.log"
        tool.run([*tool.command(each), *options, source, product], tmp_path, log, each.name)
    assert (tmp_path / "b.bit").read_bytes() == built.bitstream.read_bytes()
    assert len(built.bitstream.read_bytes()) > 10_000


@pytest.mark.slow
def test_the_same_sources_give_the_same_bitstream(built: Built, tmp_path: Path) -> None:
    again = build(built.board, tmp_path).bitstream.read_bytes()
    assert hashlib.sha256(again).digest() == hashlib.sha256(built.bitstream.read_bytes()).digest()


@pytest.mark.parametrize(("name", "board_mhz", "wanted"), [
    ("lfe5u-25f", 25, range(25, 201, 8)), ("lfe5u-25f", 48, range(25, 201, 8)), ("lfe5u-25f", 100, range(25, 201, 8)),
    ("ice40up5k", 12, range(17, 100, 4)), ("gw1nr-9c", 27, range(17, 150, 7)),
])  # fmt: skip
def test_the_pll_keeps_its_limits_and_comes_near(name: str, board_mhz: float, wanted: range) -> None:
    device = find_device(name)
    limits = device.pll
    assert limits is not None
    for mhz in wanted:
        pll = solve(board_mhz, mhz, device)
        assert 0.85 * mhz <= pll.mhz <= mhz
        assert limits.vco_mhz[0] <= pll.vco_mhz <= limits.vco_mhz[1]
        assert limits.detector_mhz[0] <= board_mhz / pll.reference <= limits.detector_mhz[1]
        divided = pll.reference * (pll.output if limits.inner else 1)
        assert pll.mhz == pytest.approx(board_mhz * pll.feedback / divided)
    for mhz in (1, 800):
        with pytest.raises(BitfabricError, match="no PLL setting for"):
            solve(board_mhz, mhz, device)


def test_usual_clocks_have_the_usual_dividers() -> None:
    for name, board_mhz, mhz, dividers in (
        ("lfe5u-25f", 25, 75, (1, 3, 8)),
        ("ice40up5k", 12, 48, (1, 64, 16)),  # icepll: 0, 63, 4
        ("gw1nr-9c", 27, 54, (1, 2, 16)),
    ):
        pll = solve(board_mhz, mhz, find_device(name))
        assert (pll.reference, pll.feedback, pll.output) == dividers
