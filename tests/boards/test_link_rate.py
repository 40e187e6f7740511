"""The stated frame rate of the host link against that of the virtual board."""

from dataclasses import replace

import numpy as np
import pytest
from qonnx.core.datatype import DataType

from hw.boards.image import image
from hw.boards.link_rate import link_rate
from hw.boards.targets import find_target
from hw.boards.virtual import VirtualBoard
from hw.host import driver
from hw.host.packing import Format
from hw.host.protocol import FRAME, REPLY, Message, encode
from hw.ir.stream import Stream
from hw.rtl.design import RtlDesign
from tests.boards.faulty_line import MODEL
from tests.boards.small_images import STRETCH, small_image
from tests.kernels.kernel_bench import random_frames


def cycles_a_frame(board: VirtualBoard, link: driver.Driver, frames: np.ndarray) -> float:
    """Cycles that each of the frames takes on the simulated line when others are under way before and after it."""
    link.session._tag = 0  # tags that are drawn make other escapes in each run
    counted = [board.clocks]
    for some in (frames, np.concatenate([frames, frames])):
        link.run(some)
        counted.append(board.clocks)
    once, twice = np.diff(counted)
    return float(twice - once) / len(frames)


def octets_a_frame(kind: int, form: Format, frames: np.ndarray) -> float:
    """Octets of each of the messages that ``cycles_a_frame`` counts, with the tags, and so the escapes, that they have
    there."""
    payloads = list(form.pack(frames))

    def sent(first: int, some: list[bytes]) -> int:
        return sum(len(encode(Message(kind, tag, payload))) for tag, payload in enumerate(some, first))

    return (sent(1 + len(payloads), payloads + payloads) - sent(1, payloads)) / len(payloads)


@pytest.mark.parametrize("shape", [(5, 12, 4, 12), (2, 9, 9, 9)])
def test_the_stated_rate_of_the_link_is_that_of_the_virtual_board(shape: tuple[int, int, int, int]) -> None:
    """Frames there and back are equally long, and two in flight keep the line nearly full."""
    design, stream, form = small_image(*shape)
    frames = random_frames(stream, 120, np.random.default_rng(12))
    with VirtualBoard(design) as board:
        link = driver.Driver(board, (form,), (form,), MODEL, timeout=0.001)
        measured = cycles_a_frame(board, link, frames)
        latency = link.status().cycles
    stated = link_rate(find_target("ulx3s-85f"), 75, [stream], [replace(stream, lanes=1)], stream.beats, latency)
    assert (stated.transport, stated.slots) == (design.transport, link.identity.slots)
    octets = (octets_a_frame(kind, form, frames) for kind in (FRAME, FRAME | REPLY))
    exact = replace(stated, **dict(zip(("input_octets", "output_octets"), octets, strict=True)))
    # The image itself takes some 60 cycles on a frame's way there and back.
    assert measured == pytest.approx(exact.cycles, abs=40)
    assert measured == pytest.approx(stated.cycles, rel=0.01)
    assert stated.fps * stated.cycles == pytest.approx(75e6)


def test_the_stated_rate_is_that_of_the_longer_direction() -> None:
    byte = DataType["UINT8"]
    short, long = Format((1,), 8, "unsigned"), Format((40,), 8, "unsigned")
    design = RtlDesign("stretch", {"s": Stream((1,), byte)}, {"m": Stream((40,), byte)}, {"stretch.sv": STRETCH})
    frames = np.random.default_rng(13).integers(0, 256, (120, 1))
    with VirtualBoard(image(design, find_target("ulx3s-85f"), 75, MODEL)) as board:
        measured = cycles_a_frame(board, driver.Driver(board, (short,), (long,), MODEL, timeout=0.001), frames)
    stated = link_rate(find_target("ulx3s-85f"), 75, [Stream((1,), byte)], [Stream((40,), byte)], 41, 42)
    assert stated.cycles == stated.output_cycles > 4 * stated.input_cycles
    assert measured == pytest.approx(stated.cycles, rel=0.01)


def test_a_slow_accelerator_leaves_the_line_idle() -> None:
    wide, narrow = [Stream((64,), DataType["UINT8"])], [Stream((10,), DataType["INT8"])]
    fast, slow = (link_rate(find_target("ulx3s-85f"), 75, wide, narrow, cycles, cycles) for cycles in (1000, 100_000))
    assert (fast.slots, slow.slots) == (8, 2)
    assert fast.cycles == fast.input_cycles
    assert slow.cycles == pytest.approx((slow.input_cycles + slow.output_cycles + 100_000) / 2)
    assert slow.core_fps == 750
    # The board's PLL makes another clock than the one asked for.
    assert link_rate(find_target("icebreaker"), 40, wide, narrow, 1000, 1000).clock_mhz == 39.75
