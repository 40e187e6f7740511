"""The whole image: clock, link and a small accelerator, through place and route to a bitstream and a placed netlist."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from qonnx.core.datatype import DataType

from hw.boards.driver import Driver
from hw.boards.image import SCOPE, Image, image
from hw.boards.pll import VCO_MHZ, solve
from hw.boards.targets import find_target
from hw.boards.virtual import VirtualBoard
from hw.errors import BitfabricError
from hw.kernels.kernel import Resources
from hw.kernels.width_converter import WidthConverter
from hw.rtl import Design, generate
from hw.stream import Stream
from hw.synth import netlist, nextpnr, tool, yosys
from hw.synth.family import ECP5
from tests.hw.kernel_bench import alone, random_frames

MODEL = 0xFEDCBA9876543210
TARGET = find_target("ulx3s-25f")


def small_image() -> Image:
    kernel = WidthConverter(Stream((6,), DataType["INT3"], 2), 6)
    assert TARGET.board is not None
    return image(generate(alone(kernel), ECP5), TARGET.board, 75, MODEL)


def build(design: Image, out: Path) -> tuple[yosys.Synthesis, nextpnr.Placement, Path]:
    synthesis = yosys.synthesise(design.design, ECP5, out, SCOPE)
    TARGET.device.check_fit(synthesis.resources)
    placement = nextpnr.place_and_route(synthesis.netlist, TARGET.device, out, design.clock_mhz, design.lpf)
    return synthesis, placement, nextpnr.pack(placement)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Image, yosys.Synthesis, nextpnr.Placement, Path]:
    design = small_image()
    return design, *build(design, tmp_path_factory.mktemp("image"))


def test_the_placed_image_computes_what_the_accelerator_computes(built) -> None:
    design, synthesis, placement, _ = built
    assert placement.met
    assert placement.fmax_mhz > 120, "the shell must not be what limits a design"
    assert synthesis.instances["u0_dut"] != Resources()
    assert synthesis.resources.lut < 1600, "the shell has grown"
    frames = random_frames(design.accelerator.inputs["s"], 8, np.random.default_rng(0))
    with VirtualBoard(design, netlist.design(placement.netlist)) as board:
        link = Driver(board, design.accelerator.inputs["s"], design.accelerator.outputs["m"], MODEL, timeout=0.0005)
        np.testing.assert_array_equal(link.run(frames), frames)
        status = link.status()
    assert (status.frames, status.errors, status.clock_hz, status.model) == (8, 0, 75_000_000, MODEL)


def test_a_bitstream_unpacked_and_packed_again_is_the_same(built, tmp_path: Path) -> None:
    *_, bit = built
    (tmp_path / "a.bit").write_bytes(bit.read_bytes())
    for name, source, product in (("ecpunpack", "a.bit", "a.config"), ("ecppack", "a.config", "b.bit")):
        options = ["--compress"] if name == "ecppack" else []
        tool.run([*nextpnr.command(name), *options, source, product], tmp_path, tmp_path / f"{name}.log", name)
    assert (tmp_path / "b.bit").read_bytes() == bit.read_bytes()
    assert len(bit.read_bytes()) > 10_000


@pytest.mark.slow
def test_the_same_sources_give_the_same_bitstream(built, tmp_path: Path) -> None:
    *_, bit = built
    *_, again = build(small_image(), tmp_path)
    assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(bit.read_bytes()).digest()


def test_the_pll_keeps_its_limits_and_comes_near() -> None:
    for mhz in range(25, 201):
        pll = solve(25, mhz)
        assert 0.85 * mhz <= pll.mhz <= mhz
        assert VCO_MHZ[0] <= pll.vco_mhz <= VCO_MHZ[1]
        assert pll.mhz == pytest.approx(25 * pll.feedback / pll.reference)
    assert (solve(25, 75).reference, solve(25, 75).feedback, solve(25, 75).output) == (1, 3, 8)
    for mhz in (1, 800):
        with pytest.raises(BitfabricError, match="no PLL setting for"):
            solve(25, mhz)


def test_an_accelerator_that_the_link_cannot_carry_is_refused() -> None:
    stream = Stream((4,), DataType["INT4"])
    assert TARGET.board is not None
    with pytest.raises(BitfabricError, match="carries one input and one output, the model has 2 and 1"):
        image(Design("a", {"s0": stream, "s1": stream}, {"m": stream}, {}), TARGET.board, 75, MODEL)
