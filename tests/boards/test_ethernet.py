"""Ethernet: an image behind RGMII with a model of PHY and host, on networks that lose, repeat and reorder datagrams."""

import random
import re
import socket
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from amaranth_boards.ecpix5 import ECPIX545Platform
from qonnx.core.datatype import DataType

from hw.boards import ethernet
from hw.boards.image import SCOPE, Image, format_of, image
from hw.boards.link_rate import link_rate
from hw.boards.targets import RESERVED, Ethernet, find_target
from hw.boards.udp_board import UdpBoard
from hw.boards.virtual import VirtualBoard
from hw.fabric.cells import Cell
from hw.fabric.identifiers import KEYWORDS
from hw.families.ecp5 import ECP5
from hw.families.ecp5.cells import Ecp5Cells
from hw.host.boards import open_board
from hw.host.driver import Driver
from hw.host.errors import BitfabricError, UsageError
from hw.host.interface import Interface
from hw.host.session import Session
from hw.host.udp_port import LONGEST, open_udp
from hw.ir.stream import Stream
from hw.kernels.width_converter.kernel import WidthConverter
from hw.rtl.design import generate
from hw.simulation import verilator
from hw.synth import netlist, nextpnr, yosys
from tests.boards.faulty_line import MODEL
from tests.kernels.kernel_bench import alone, random_frames

SAMPLE = Path(__file__).parents[2] / "docs" / "samples" / "ecpix5-ethernet.yaml"


@cache
def made(bits: int = 8, channels: int = 12, lanes: int = 4, out_lanes: int = 12) -> tuple[Image, Stream]:
    stream = Stream((channels,), DataType[f"INT{bits}"], lanes)
    graph = alone(WidthConverter(stream, out_lanes))
    return image(generate(graph, ECP5), find_target(str(SAMPLE)), 75, MODEL, stream.beats, 4), stream


class BadNetwork:
    """Loses, repeats and reorders datagrams, and damages some in ways that no check sequence finds."""

    def __init__(self, rate: float, seed: int) -> None:
        self.rate, self.rng = rate, random.Random(seed)
        self.faults: Counter[str] = Counter()

    def __call__(self, datagrams: list[bytes]) -> list[bytes]:
        found = []
        for datagram in datagrams:
            copies = [datagram]
            if self._happens("lost"):
                copies = []
            if self._happens("repeated"):
                copies *= 2
            if self._happens("damaged"):
                place = self.rng.randrange(len(datagram))
                copies = [each[:place] + bytes([each[place] ^ 1]) + each[place + 1 :] for each in copies]
            found += copies
        if len(found) > 1 and self._happens("reordered"):
            self.rng.shuffle(found)
        return found

    def _happens(self, fault: str) -> bool:
        happens = self.rng.random() < self.rate
        self.faults[fault] += happens
        return happens


class NetworkPort:
    """A port of a session whose datagrams to and from a virtual board pass a network."""

    def __init__(self, board: VirtualBoard, network: BadNetwork) -> None:
        self.board, self.network = board, network
        self.timeout: float | None = None
        self._sent: list[bytes] = []
        self._received = bytearray()

    def clock(self) -> float:
        return self.board.clock()

    def write(self, data: bytes) -> int:
        assert len(data) <= LONGEST
        self._sent.append(data)
        return len(data)

    def read(self, size: int = 1) -> bytes:
        if len(self._received) < size:
            self.board.timeout = self.timeout
            sent, self._sent = self.network(self._sent), []
            self._received += b"".join(self.network(self.board.exchange_datagrams(sent)))
        data = bytes(self._received[:size])
        del self._received[:size]
        return data

    def close(self) -> None:
        pass


def busy(design: Image) -> Image:
    """The image on a network where every second frame is none for it, or damaged."""
    constants = design.transport.constants | {"OTHERS": 8}
    return replace(design, transport=replace(design.transport, constants=constants))


@pytest.mark.parametrize("shape", [(8, 12, 4, 12), (8, 4096, 8, 8)])
def test_frames_come_back_also_on_a_bad_network(shape: tuple[int, int, int, int]) -> None:
    """Frames of one datagram, and of five."""
    design, stream = made(*shape)
    if shape[1] < 100:
        verilator.lint(design.design)
        design = busy(design)
    form, rng = format_of(stream), np.random.default_rng(1)
    network = BadNetwork(0.0, 2)
    with VirtualBoard(design) as board:
        link = Driver(NetworkPort(board, network), [form], [form], MODEL, timeout=0.0005, retries=100)
        for rate in (0.0, 0.02, 0.1):
            network.rate = rate
            frames = random_frames(stream, 200 if shape[1] < 100 else 20, rng)
            np.testing.assert_array_equal(link.run(frames)[0], frames)
            assert rate or link.status().errors == link.session.resent == 0
        network.rate = 0.0
        assert set(network.faults) == {"lost", "repeated", "damaged", "reordered"}
        assert network.faults.total() > 40
        frames = random_frames(stream, 4, rng)
        link.benchmark(30, frames, beats=[design.accelerator.outputs["m"].beats], expected=[frames])


@pytest.mark.slow
def test_datagrams_without_room_are_lost_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that does not wait for the image, which keeps less than a frame."""
    monkeypatch.setattr(ethernet, "BUFFER_LOG", 11)
    design, stream = made.__wrapped__(8, 4096, 8, 8)
    constants = design.transport.constants | {"BOARD_BUFFER": 1 << 30}
    design = replace(design, transport=replace(design.transport, constants=constants))
    form, frames = format_of(stream), random_frames(stream, 20, np.random.default_rng(7))
    with VirtualBoard(design) as board:
        port = NetworkPort(board, BadNetwork(0.0, 8))
        session = Session(port, 0.0005, retries=2)
        with pytest.raises(BitfabricError, match="stopped answering after 0 of 20 frames"):
            session.run(form.pack(frames), form.octets)
        link = Driver(board, [form], [form], MODEL, timeout=0.001)
        # Messages of two datagrams fit: the state of the image is still right.
        status = link.status()
        assert status.errors > 0
        assert (status.frames, status.pending) == (0, 0)


SLOW = [pytest.param(shape, marks=pytest.mark.slow) for shape in [(5, 12, 4, 12), (2, 9, 9, 3), (8, 1500, 4, 4)]]


@pytest.mark.parametrize("shape", [(8, 12, 4, 12), (8, 4096, 8, 8), *SLOW])
def test_the_stated_rate_is_that_of_the_virtual_board(shape: tuple[int, int, int, int]) -> None:
    design, stream = made(*shape)
    form = format_of(stream)
    low, high = int(stream.dtype.min()), int(stream.dtype.max())
    count = 150 if shape[1] < 100 else 30
    frames = np.random.default_rng(3).integers(low, high, (count, *stream.shape), endpoint=True)
    with VirtualBoard(design) as board:
        link = Driver(board, [form], [form], MODEL, timeout=0.001)
        counted = [board.clocks]
        for some in (frames, np.concatenate([frames, frames])):
            link.run(some)
            counted.append(board.clocks)
        latency = link.status().cycles
        assert link.session.resent == 0
    once, twice = np.diff(counted)
    result = design.accelerator.outputs["m"]
    stated = link_rate(find_target(str(SAMPLE)), 75, [stream], [result], stream.beats, latency)
    assert float(twice - once) / len(frames) == pytest.approx(stated.cycles, rel=0.02)


@pytest.mark.parametrize("skew", [0.9999, 1.0001])
def test_the_clock_of_the_phy_is_another_one(skew: float) -> None:
    design, stream = made()
    form, frames = format_of(stream), random_frames(made()[1], 300, np.random.default_rng(4))
    with VirtualBoard(design, skew=skew) as board:
        link = Driver(board, [form], [form], MODEL, timeout=0.001)
        np.testing.assert_array_equal(link.run(frames)[0], frames)
        assert link.status().errors == link.session.resent == 0


def test_names_that_the_image_uses_are_reserved() -> None:
    design, _ = made()
    text = re.sub(r"//.*|\bbf_\w+|(?<=\.)\w+|'[bhd]\w+", " ", design.design.files["image.sv"])
    text = re.sub(r"if \(1\) begin : (g_pads)\n.*?\n  end\n", r" \1 ", text, flags=re.DOTALL)
    names = {word.lower() for word in re.findall(r"\b[a-z]\w*", text)}
    assert names - RESERVED - KEYWORDS <= {"ehxplll", "accelerator", "default_nettype", "none"} | {*design.design.files}


def interface(design: Image) -> Interface:
    return Interface(MODEL, design.transport.kind, dict(design.transport.settings), (), (), (), {})


def test_a_program_reaches_the_virtual_board_with_udp() -> None:
    design, stream = made()
    form, frames = format_of(stream), random_frames(made()[1], 40, np.random.default_rng(5))
    network = BadNetwork(0.1, 6)
    with VirtualBoard(design) as board, UdpBoard(board, network) as end:
        port = open_board(interface(design), end.port)
        link = Driver(port, [form], [form], MODEL, timeout=0.1, retries=50)
        np.testing.assert_array_equal(link.run(frames)[0], frames)
        port.close()
    assert network.faults.total() > 5


def test_the_driver_is_no_faster_than_the_image() -> None:
    """10 kB at 100 kB/s, of which 2 kB fit, take 80 ms."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        other.settimeout(5)
        address = f"udp://127.0.0.1:{other.getsockname()[1]}"
        port = open_udp(address, 100_000, 2048)
        session = Session(port, 0.01)
        start = session.now()
        port.write(bytes(10_000))
        assert 0.0785 <= session.now() - start < 1
        sizes = [len(other.recv(1 << 16)) for _ in range(10)]
        assert (sum(sizes), max(sizes)) == (10_000, LONGEST)
        assert port.read(5) == b""
        port.close()


def test_wrong_addresses_end_in_one_line() -> None:
    design, _ = made()
    for address, said in {
        "/dev/ttyUSB0": "is no address of a board with Ethernet; give one as udp://192.168.1.50:5005",
        "udp://127.0.0.1": "is no address",
        "udp://127.0.0.1:99999": "cannot use udp://127.0.0.1:99999",
        "udp://no.such.host.invalid:1": "is this computer in the network of the board?",
    }.items():
        with pytest.raises(UsageError) as told:
            open_board(interface(design), address)
        assert said in str(told.value)
        assert str(told.value).isprintable()
    with pytest.raises(UsageError, match="leave out --baud"):
        open_board(interface(design), None, 115200)


def test_the_sample_has_the_pins_of_the_board() -> None:
    board = find_target(str(SAMPLE)).board
    assert board is not None
    link = board.chosen_link
    assert isinstance(link, Ethernet)
    (phy,) = (each for each in ECPIX545Platform.resources if each.name == "eth_rgmii")
    pins = {each.name: each.ios[0].names for each in phy.ios}
    assert {
        "rst": [link.reset], "tx_clk": [link.tx_clk], "tx_ctrl": [link.tx_ctl], "tx_data": [*link.tx_data],
        "rx_clk": [link.rx_clk], "rx_ctrl": [link.rx_ctl], "rx_data": [*link.rx_data],
    } == {name: found for name, found in pins.items() if name not in ("mdio", "mdc")}  # fmt: skip


REFUSED = {
    ('"02:00:00:00:00:01"', '"03:00:00:00:00:01"'): "ethernet.mac: '03:00:00:00:00:01' is the address of no station",
    ('"02:00:00:00:00:01"', "02-00"): "ethernet.mac: '02-00'; allowed: a MAC address, in quotes",
    ("192.168.1.50", "192.168.1"): "ethernet.ip: '192.168.1' is no IPv4 address",
    ("192.168.1.50", "224.0.0.1"): "ethernet.ip: '224.0.0.1' is the address of no station in a network",
    ("192.168.1.50", "7"): "ethernet.ip: 7 is no IPv4 address",
    ("5005", "0"): "ethernet.port: Input should be greater than or equal to 1",
    ("5005", "65536"): "ethernet.port: Input should be less than or equal to 65535",
    ("tx_delay_ns: 2.0", "tx_delay_ns: 4.0"): "ethernet.tx_delay_ns: Input should be less than or equal to 3",
    ("[D8, C8, B8, A8]", "[D8, C8]"): "ethernet.tx_data: Tuple should have at least 4 items",
    ("[D8, C8, B8, A8]", "[D8, C8, B8, A9]"): "pin A9 is given 2 times",
    ("  tx_ctl: C9\n", ""): "ethernet.tx_ctl: it is missing",
}


@pytest.mark.parametrize("change", REFUSED, ids=range(len(REFUSED)))
def test_a_wrong_field_is_refused_by_name(change: tuple[str, str], tmp_path: Path) -> None:
    text = SAMPLE.read_text()
    assert change[0] in text
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace(*change))
    with pytest.raises(UsageError) as told:
        find_target(str(path))
    assert REFUSED[change] in str(told.value)
    assert str(told.value).isprintable()


def test_another_family_has_no_such_pads(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    text = SAMPLE.read_text().replace("lfe5um5g-45f", "ice40up5k").replace("mhz: 100", "mhz: 12")
    path.write_text(text.replace("package: CABGA554\n", ""))
    stream = Stream((4,), DataType["INT4"])
    with pytest.raises(UsageError, match="no pads for both edges of a clock of a ice40up5k are known here"):
        link_rate(find_target(str(path)), 30, [stream], [stream], 4, 4)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"MODE": "IREG_OREG"}, "no model of SIOLOGIC with MODE IREG_OREG"),
        ({"DELAY.WAIT_FOR_EDGE": "ENABLED"}, "no model of SIOLOGIC with DELAY.WAIT_FOR_EDGE ENABLED"),
        ({}, "no model of SIOLOGIC that is both an input and an output, or neither"),
    ],
)
def test_other_registers_of_pads_have_no_model(changed: dict[str, str], said: str) -> None:
    parameters = {"MODE": "IDDRX1_ODDRX1", "DELAY.WAIT_FOR_EDGE": "DISABLED"} | changed
    cell = Cell("SIOLOGIC", parameters, {"IOLDO": [1], "RXDATA0": [2], "CLK": [3]}, {"IOLDO", "RXDATA0"})
    with pytest.raises(BitfabricError, match=said):
        Ecp5Cells().adapt(cell)


@pytest.mark.slow
def test_the_placed_netlist_speaks_it_too(tmp_path: Path) -> None:
    design, stream = made()
    device = find_target(str(SAMPLE)).device
    synthesis = yosys.synthesise(design.design, device, tmp_path, SCOPE)
    placement = nextpnr.place_and_route(synthesis.netlist, device, tmp_path, design.clock_mhz, design.pins)
    assert placement.met
    assert nextpnr.pack(placement).stat().st_size > 10_000
    constraints = synthesis.netlist.with_suffix(".lpf").read_text()
    assert 'FREQUENCY PORT "eth_rx_clk" 125 MHZ;' in constraints
    assert 'FREQUENCY PORT "clk_board" 100 MHZ;' in constraints
    form, frames = format_of(stream), random_frames(stream, 40, np.random.default_rng(5))
    with VirtualBoard(design, netlist.design(placement.netlist, ECP5)) as board:
        link = Driver(board, [form], [form], MODEL, timeout=0.001)
        np.testing.assert_array_equal(link.run(frames)[0], frames)
        assert link.status().errors == link.session.resent == 0
