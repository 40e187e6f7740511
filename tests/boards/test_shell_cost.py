"""The estimated shell of a board against synthesis."""

from pathlib import Path

import pytest
from qonnx.core.datatype import DataType

from hw.boards.image import image
from hw.boards.shell_cost import memory, shell_resources
from hw.boards.targets import find_target
from hw.fabric.resources import Resources
from hw.ir.stream import Stream
from hw.rtl.design import RtlDesign
from hw.synth.yosys import synthesise

LINKS = {
    "lfe5u-25f": {
        (8, 64, 8, 10, 0): (1035, 677, 0), (8, 64, 8, 10, 4): (1469, 875, 1), (64, 8, 40, 2, 0): (1036, 895, 0),
        (64, 8, 40, 2, 4): (2003, 1163, 0), (1, 784, 4, 10, 0): (918, 660, 1),
    },
    "ice40up5k": {
        (8, 64, 8, 10, 0): (813, 705, 5), (8, 64, 8, 10, 4): (1346, 911, 5), (64, 8, 40, 2, 0): (948, 1035, 7),
        (64, 8, 40, 2, 4): (1668, 1303, 7), (1, 784, 4, 10, 0): (831, 700, 5),
    },
    "arty-a7-35": {
        (8, 64, 8, 10, 0): (636, 1045, 2), (8, 64, 8, 10, 4): (966, 1251, 2), (64, 8, 40, 2, 4): (1200, 1643, 4),
    },
}  # fmt: skip
"""By device and by (bits of a beat and beats of the input, the same of the output, frames of the benchmark): lookup
tables, flip-flops and block RAMs of ``bf_link``, synthesised; without transport and reset."""
MEMORIES = {
    "ulx3s-25f": {
        (160, 8): 0, (136, 8): 0, (65, 20): 1, (64, 28): 1, (48, 32): 1, (33, 36): 1, (176, 7): 0, (176, 8): 1,
        (352, 2): 0, (352, 3): 1, (400, 1): 0, (432, 1): 1, (368, 2): 0, (400, 2): 1, (44, 28): 0, (72, 16): 0,
        (100, 12): 0, (40, 32): 1, (16, 96): 0, (16, 168): 0, (32, 45): 0, (32, 72): 0, (1200, 1): 1,
    },
    "tangnano9k": {
        (160, 8): 0, (65, 20): 1, (64, 28): 1, (176, 7): 0, (176, 8): 1, (352, 3): 0, (432, 1): 0, (800, 1): 0,
        (1200, 1): 1, (500, 2): 0, (200, 5): 0, (200, 8): 1,
    },
}  # fmt: skip
"""Block RAMs of a writable memory of so many words of so many bits, synthesised alone, by board."""
SAMPLES = [str(path) for path in sorted((Path(__file__).parents[2] / "docs" / "samples").glob("*.yaml"))]
"""Boards with each link."""
BOARDS = {"lfe5u-25f": "ulx3s-25f", "ice40up5k": "icebreaker", "arty-a7-35": "arty-a7-35"}
UART_AND_RESET = Resources(lut=50, ff=45)
"""A UART and the reset."""


def stream(width: int, beats: int) -> Stream:
    return Stream((beats,), DataType[f"UINT{width}"], 1)


@pytest.mark.parametrize("device", LINKS)
def test_links_that_were_synthesised(device: str) -> None:
    """Block RAMs exactly, lookup tables and flip-flops within 10 %."""
    target = find_target(BOARDS[device])
    for (width, beats, out_width, out_beats, frames), (lut, ff, bram) in LINKS[device].items():
        used = shell_resources(target, [stream(width, beats)], [stream(out_width, out_beats)], frames) - UART_AND_RESET
        assert used.bram == bram
        assert used.lut == pytest.approx(lut, rel=0.1)
        assert used.ff == pytest.approx(ff, rel=0.1)


@pytest.mark.parametrize("board", MEMORIES)
def test_yosys_choice_of_memories(board: str) -> None:
    family = find_target(board).device.family
    assert {each: memory(*each, family).bram for each in MEMORIES[board]} == MEMORIES[board]


def test_more_of_anything_takes_no_less() -> None:
    for name in ("ulx3s-25f", "icebreaker", "tangnano9k", "arty-a7-35", *SAMPLES):
        target = find_target(name)
        x, y = stream(8, 64), stream(8, 10)
        least = shell_resources(target, [x], [y])
        for more in (
            shell_resources(target, [x, x], [y]),
            shell_resources(target, [x], [y, y]),
            shell_resources(target, [x], [y], 2),
        ):
            assert more.lut > least.lut
            assert more.ff > least.ff
            assert more.bram >= least.bram
        assert shell_resources(target, [x], [y], 64).bram > shell_resources(target, [x], [y], 4).bram
        assert shell_resources(target, [stream(8, 4096)], [y]).bram > least.bram
    assert shell_resources(find_target("lfe5u-25f"), [x], [y], 4) == Resources()


CORE = """\
module core (
    input wire logic clk, rst, s_valid, m_ready, input wire logic [7:0] s_data,
    output logic s_ready, m_valid, output logic [15:0] m_data
);
  logic [7:0] kept;
  assign s_ready = m_ready;
  assign m_valid = s_valid;
  assign m_data = {kept, s_data};
  always_ff @(posedge clk) kept <= s_data;
endmodule
"""
"""A stand-in of an accelerator; ``kept`` are the only flip-flops of it."""


@pytest.mark.slow
@pytest.mark.parametrize("frames", [0, 8])
@pytest.mark.parametrize("board", ["ulx3s-25f", "icebreaker", "tangnano9k", "arty-a7-35", *SAMPLES])
def test_an_image_has_the_shell_that_is_estimated(board: str, frames: int, tmp_path: Path) -> None:
    """Of every family and link; block RAMs exactly, the others within 15 %."""
    target = find_target(board)
    x, y = stream(8, 100), stream(16, 100)
    core = RtlDesign("core", {"s": x}, {"m": y}, {"core.sv": CORE})
    made = image(core, target, target.device.clock_mhz, 0, benchmark=frames)
    counted = synthesise(made.design, target.device, tmp_path).resources
    used = shell_resources(target, [x], [y], frames)
    assert counted.bram == used.bram
    assert used.lut == pytest.approx(counted.lut, rel=0.15)
    assert used.ff == pytest.approx(counted.ff - 8, rel=0.15)
