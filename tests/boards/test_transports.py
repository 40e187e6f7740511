"""SPI and the FT232H FIFO: whole images behind each, simulated with a model of the host, on good lines and on bad
ones."""

import random
from pathlib import Path

import numpy as np
import pytest
from amaranth_boards.ulx3s import ULX3S_85F_Platform
from qonnx.core.datatype import DataType

from hw.boards.image import SCOPE, format_of, image
from hw.boards.link_rate import link_rate
from hw.boards.targets import find_target
from hw.boards.virtual import VirtualBoard
from hw.families.ecp5 import ECP5
from hw.host.driver import Driver
from hw.host.errors import UsageError
from hw.host.protocol import FRAME, Message, encode
from hw.ir.stream import Stream
from hw.kernels.width_converter.kernel import WidthConverter
from hw.rtl.design import generate
from hw.simulation import verilator
from hw.synth import netlist, nextpnr, tool, yosys
from tests.boards.faulty_images import LINKS, image_campaign
from tests.boards.faulty_line import MODEL, FaultyLine
from tests.boards.small_images import SAMPLES, link_target, linked_image
from tests.boards.test_link import damage
from tests.kernels.kernel_bench import alone, random_frames

KINDS = ("spi", "fifo", "fifo-sync")
CLOCKS: dict[str, list[str]] = {"spi": ["spi_sck"], "fifo": [], "fifo-sync": ["fifo_clkout"]}
"""Ports by which a clock of the host enters."""


@pytest.mark.parametrize("kind", KINDS)
def test_frames_come_back_also_on_a_bad_line(kind: str) -> None:
    design, stream = linked_image(kind)
    verilator.lint(design.design)
    form, rng = format_of(stream), np.random.default_rng(1)
    with VirtualBoard(design) as board:
        line = FaultyLine(board, {}, random.Random(2))
        link = Driver(line, [form], [form], MODEL, timeout=0.0005, retries=100)
        for rate in (0.0, 0.003, 0.02):
            line.rates = damage(rate)
            frames = random_frames(stream, 200, rng)
            np.testing.assert_array_equal(link.run(frames)[0], frames)
            assert link.session.resent == 0 or rate
        line.rates = {}
        assert line.faults.total() > 100
        frames = random_frames(stream, 4, rng)
        link.benchmark(3000, frames, beats=[1], expected=[frames])


@pytest.mark.parametrize(
    ("kind", "shape", "mhz"),
    [
        *((kind, shape, 75) for kind in KINDS for shape in ((8, 12, 4, 12), (5, 12, 4, 12), (2, 9, 9, 3))),
        ("fifo-sync", (8, 64, 8, 16), 75),
        *(("fifo-sync", shape, mhz) for shape in ((8, 12, 4, 12), (2, 9, 9, 3), (2, 4, 4, 4)) for mhz in (50, 125)),
        ("spi", (5, 12, 4, 12), 50),
    ],
)
def test_the_stated_rate_is_that_of_the_virtual_board(
    kind: str, shape: tuple[int, int, int, int], mhz: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Frames are numbered from a random number on, and those from 0x7d00 to 0x7eff have an octet more on the line.
    monkeypatch.setattr("hw.host.session.os.urandom", bytes)
    design, stream = linked_image(kind, *shape, mhz)
    form = format_of(stream)
    low, high = int(stream.dtype.min()), int(stream.dtype.max())
    # So many that the ends of the two runs, some hundred clocks more or less, do not matter.
    count = 150 if form.octets >= 64 else 600
    frames = np.random.default_rng(3).integers(low, high, (count, *stream.shape), endpoint=True)
    with VirtualBoard(design) as board:
        link = Driver(board, [form], [form], MODEL, timeout=0.001)
        counted = [board.clocks]
        for some in (frames, np.concatenate([frames, frames])):
            link.run(some)
            counted.append(board.clocks)
        latency = link.status().cycles
    once, twice = np.diff(counted)
    result = design.accelerator.outputs["m"]
    stated = link_rate(link_target(kind), mhz, [stream], [result], stream.beats, latency)
    # How short frames over the synchronous FIFO share the bus is stated as a mean.
    near = 0.055 if kind == "fifo-sync" and form.octets < 64 else 0.02
    assert float(twice - once) / len(frames) == pytest.approx(stated.cycles, rel=near)


@pytest.mark.parametrize("skew", [0.1, 0.7, 1.02, 1.9])
def test_spi_follows_its_master(skew: float) -> None:
    """Of 3 to 57 MHz, at an image of 75 MHz."""
    design, stream = linked_image("spi")
    form, frames = format_of(stream), random_frames(linked_image("spi")[1], 20, np.random.default_rng(4))
    assert design.transport.settings == {"hz": 30_000_000}
    with VirtualBoard(design, skew=skew) as board:
        link = Driver(board, [form], [form], MODEL, timeout=0.001)
        np.testing.assert_array_equal(link.run(frames)[0], frames)
        assert link.status().errors == link.session.resent == 0


@pytest.mark.parametrize("mhz", [25, 150])
def test_clkout_is_faster_and_slower_than_the_clock_of_the_image(mhz: float) -> None:
    stream = Stream((12,), DataType["INT8"], 4)
    design = image(
        generate(alone(WidthConverter(stream, 12)), ECP5), link_target("fifo-sync"), mhz, MODEL, stream.beats
    )
    form, frames = format_of(stream), random_frames(stream, 60, np.random.default_rng(6))
    with VirtualBoard(design) as board:
        link = Driver(board, [form], [form], MODEL, timeout=0.001)
        np.testing.assert_array_equal(link.run(frames)[0], frames)
        assert link.status().errors == link.session.resent == 0


def test_sck_is_as_fast_as_the_image_takes_octets() -> None:
    stream = Stream((4,), DataType["INT4"])
    found = [link_rate(link_target("spi"), mhz, [stream], [stream], 4, 4).transport for mhz in (25, 50, 200)]
    assert [each.settings["hz"] for each in found] == [18_181_818, 30_000_000, 30_000_000]
    assert [each.receive_cycles for each in found] == pytest.approx([11, 40 / 3, 160 / 3])
    (sck,) = [pin for _, pins in found[0].ports for pin in pins if pin.mhz]
    assert (sck.port, sck.mhz) == ("spi_sck", pytest.approx(200 / 11))


def test_the_fill_octet_is_escaped() -> None:
    """Frames of nothing but octets that SPI sends where it has nothing to send."""
    design, stream = linked_image("spi")
    form, frames = format_of(stream), np.full((5, 12), 0x7F)
    with VirtualBoard(design) as board:
        link = Driver(board, [form], [form], MODEL, timeout=0.001)
        np.testing.assert_array_equal(link.run(frames)[0], frames)
    assert encode(Message(FRAME, 1, bytes([0x7F]))).count(0x7F) == 1


def test_the_samples_have_pins_of_the_header() -> None:
    (header,) = ULX3S_85F_Platform.connectors
    pins = {kind: link_target(kind).board.chosen_link.pins for kind in KINDS}
    names = {pin: name for name, pin in header.mapping.items()}
    assert [names[pin] for pin in pins["fifo"]] == [f"{i}+" for i in range(8)] + [f"{i}-" for i in range(4)]
    assert [names[pin] for pin in pins["fifo-sync"]] == [f"{i}-" for i in range(8)] + [
        *("1+", "2+", "3+", "4+", "0+", "6+", "5+")
    ]
    assert [names[pin] for pin in pins["spi"]] == ["0+", "1+", "2+", "3+"]


BOARD = "name: mine\ndevice: lfe5u-25f\nclock: {pin: A1, mhz: 25}\n"
UART = "uart: {rx: B1, tx: B2, max_baud: 115200}\n"
SPI = "spi: {sck: C1, mosi: C2, miso: C3, cs: C4, max_mhz: 30}\n"
FIFO = "fifo: {data: [B1, B2, B3, B4, B5, B6, B7, B8], rxf: C1, txe: C2, rd: C3, wr: C4"
REFUSED = {
    BOARD: "it has no host link; give one of 'uart', 'spi', 'fifo' and 'ethernet' with its pins",
    BOARD + UART + "link: spi\n": "'link' asks for spi, and the file has no 'spi' with its pins",
    BOARD + UART + SPI: "it has uart and spi; say with 'link' which is the host link",
    BOARD + "spi: {sck: C1, mosi: C2, cs: C4, max_mhz: 30}\n": "spi.miso: it is missing",
    BOARD + SPI.replace("C4", "C3"): "pin C3 is given 2 times",
    BOARD
    + "fifo: {data: [B1, B2], rxf: C1, txe: C2, rd: C3, wr: C4}\n": "fifo.data: Tuple should have at least 8 items",
    BOARD + FIFO + ", mode: synchronous, clkout: D1, siwu: D2}\n": "fifo: the synchronous mode needs the pin 'oe' too",
    BOARD + FIFO + ", oe: D1}\n": "fifo: 'oe' is a pin of the synchronous mode; give 'mode: synchronous', or leave it",
    BOARD + FIFO + ", mode: synchronous, clkout: D1, siwu: D2, oe: C4}\n": "pin C4 is given 2 times",
    BOARD + UART + "link: ethernet\n": "'link' asks for ethernet, and the file has no 'ethernet' with its pins",
    BOARD + UART + "link: usb\n": "link: Input should be 'uart', 'spi', 'fifo' or 'ethernet'",
}


@pytest.mark.parametrize("text", REFUSED, ids=range(len(REFUSED)))
def test_a_board_without_the_link_that_is_asked_for(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as told:
        find_target(str(path))
    assert REFUSED[text] in str(told.value)
    assert str(told.value).isprintable()


@pytest.mark.parametrize("kind", ["fifo", "fifo-sync"])
def test_a_fifo_needs_bidirectional_pads(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    text = (SAMPLES / f"ulx3s-{kind}.yaml").read_text().replace("lfe5u-85f", "ice40up5k").replace("mhz: 25", "mhz: 12")
    path.write_text(text)
    stream = Stream((4,), DataType["INT4"])
    with pytest.raises(UsageError, match="no bidirectional pad of a ice40up5k is known here"):
        link_rate(find_target(str(path)), 30, [stream], [stream], 4, 4)


@pytest.mark.parametrize("link", LINKS[1:])
def test_no_run_on_a_bad_line_ends_with_a_wrong_result(link: str) -> None:
    done = image_campaign(link, 60, 7)
    assert {*done.outcomes} <= {"right", "refused"}
    assert done.outcomes["right"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_placed_netlist_speaks_it_too(kind: str, tmp_path: Path) -> None:
    design, stream = linked_image(kind)
    device = link_target(kind).device
    synthesis = yosys.synthesise(design.design, device, tmp_path, SCOPE)
    placement = nextpnr.place_and_route(synthesis.netlist, device, tmp_path, design.clock_mhz, design.pins)
    assert placement.met
    assert [each.port for each in placement.pin_clocks] == CLOCKS[kind]
    # A pointer in Gray code is right as long as its bits cross within a period of either clock.
    for path in tool.read_output(tmp_path / "image.report.json")["critical_paths"]:
        clocks = {name.split(" ")[-1] for name in (path["from"], path["to"])} - {"<async>"}
        assert len(clocks) < 2 or sum(step["delay"] for step in path["path"]) < 5
    assert nextpnr.pack(placement).stat().st_size > 10_000
    form, frames = format_of(stream), random_frames(stream, 8, np.random.default_rng(5))
    with VirtualBoard(design, netlist.design(placement.netlist, ECP5)) as board:
        link = Driver(board, [form], [form], MODEL, timeout=0.001)
        np.testing.assert_array_equal(link.run(frames)[0], frames)
        assert link.status().errors == link.session.resent == 0
