"""The host link: codec, hardware and driver together, on a good line and on a bad one. No wrong frame gets through."""

import os
import random
import sys
import threading
import tty
import zlib
from contextlib import suppress
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qonnx.core.datatype import DataType
from serial.tools import list_ports

from hw.boards.image import Image, baud_rate, format_of, image, slots
from hw.boards.link_rate import link_rate
from hw.boards.pty_board import PtyBoard
from hw.boards.targets import find_target
from hw.boards.virtual import VirtualBoard
from hw.families.ecp5 import ECP5
from hw.host import driver, ports, protocol
from hw.host.errors import BitfabricError
from hw.host.packing import Format
from hw.host.ports import find_port, open_port
from hw.host.protocol import FRAME, MESSAGE_OCTETS, REPLY, STATUS, Decoder, Message, Status, encode, line_octets
from hw.host.session import Session
from hw.ir.stream import Stream, container
from hw.kernels.fifo.kernel import Fifo
from hw.kernels.width_converter.kernel import WidthConverter
from hw.rtl.design import RtlDesign, generate
from hw.simulation import verilator
from tests.boards.faulty_line import BABBLE, MODEL, FaultyLine, ImageModel, campaign
from tests.kernels.kernel_bench import alone, random_frames

messages = st.builds(Message, st.integers(0, 255), st.integers(0, 65535), st.binary(max_size=40))


@given(st.lists(messages, max_size=5))
def test_messages_come_out_as_they_went_in(sent: list[Message]) -> None:
    decoder = Decoder(300)
    line = b"".join(map(encode, sent))
    assert [m for octet in line for m in decoder.feed(bytes([octet]))] == sent
    assert decoder.dropped == 0


@given(st.lists(messages, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_nothing_that_was_not_sent_comes_out_of_a_damaged_line(sent: list[Message], rng: random.Random) -> None:
    line = bytearray(b"".join(map(encode, sent)))
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(line))
        match rng.randrange(3):
            case 0:
                line[place] ^= 1 << rng.randrange(8)
            case 1:
                line.insert(place, rng.choice([0x7E, 0x7D, rng.randrange(256)]))
            case _:
                del line[place]
    got = list(Decoder(300).feed(bytes(line)))
    rest = iter(sent)
    assert all(message in rest for message in got), "a message that was not sent, or out of order"


def test_the_crc_is_the_usual_one() -> None:
    line = encode(Message(STATUS, 0x1234))
    assert line == b"\x7e\x01\x34\x12" + zlib.crc32(b"\x01\x34\x12").to_bytes(4, "little") + b"\x7e"


def test_the_mean_length_of_messages_is_that_of_messages() -> None:
    rng = np.random.default_rng(11)
    for payload in (0, 1, 39, 3072):
        sent = [encode(Message(FRAME, int(rng.integers(1 << 16)), rng.bytes(payload))) for _ in range(400)]
        lengths = [len(line) for line in sent]
        assert min(lengths) >= MESSAGE_OCTETS + payload
        deviation = np.sqrt((payload + 7) * 2 / 256 / len(sent))
        assert abs(np.mean(lengths) - line_octets(payload)) < 4 * deviation + 1e-9


def test_every_clock_gets_a_baud_rate_within_bounds() -> None:
    for mhz in range(25, 200):
        baud, divisor = baud_rate(mhz * 1e6, 3_000_000)
        assert abs(mhz * 1e6 / divisor / baud - 1) < 0.015
        assert baud >= 921_600
    assert baud_rate(75e6, 3_000_000) == (3_000_000, 25)
    with pytest.raises(BitfabricError, match="no baud rate"):
        baud_rate(0.5e6, 115_200)


Small = tuple[Image, Stream, Format]


@cache
def small_image(bits: int = 5, channels: int = 12, lanes: int = 4, out_lanes: int = 12) -> Small:
    """An image that gives back its frames, their stream and their format on the link."""
    stream = Stream((channels,), DataType[f"INT{bits}"], lanes)
    kernel = Fifo(stream, 8) if lanes == out_lanes else WidthConverter(stream, out_lanes)
    design = image(generate(alone(kernel), ECP5), find_target("ulx3s-85f"), 75, MODEL)
    return design, stream, format_of(stream)


@pytest.mark.parametrize("shape", [(5, 12, 4, 12), (13, 7, 1, 7), (2, 9, 9, 9)])
def test_frames_of_any_width_come_back_through_the_image(shape: tuple[int, int, int, int]) -> None:
    design, stream, form = small_image(*shape)
    verilator.lint(design.design)
    frames = random_frames(stream, 20, np.random.default_rng(0))
    calls: list[tuple[int, int]] = []
    with VirtualBoard(design) as board:
        link = driver.Driver(board, form, form, MODEL, timeout=0.001)
        np.testing.assert_array_equal(link.run(frames, lambda *done: calls.append(done)), frames)
        status = link.status()
    assert calls == [(i + 1, 20) for i in range(20)]
    assert (status.frames, status.errors, status.pending) == (20, 0, 0)
    assert link.session.resent == 0
    alone_in_time = verilator.build(design.accelerator).run({"s": frames[:1]}).taken
    assert status.cycles == alone_in_time["m"][-1] - alone_in_time["s"][0] + 1


@pytest.mark.parametrize("skew", [0.98, 1.02])
def test_a_host_whose_clock_is_off_is_understood(skew: float) -> None:
    design, stream, form = small_image()
    frames = random_frames(stream, 10, np.random.default_rng(1))
    with VirtualBoard(design, skew=skew) as board:
        link = driver.Driver(board, form, form, MODEL, timeout=0.001)
        np.testing.assert_array_equal(link.run(frames), frames)
        assert link.status().errors == 0


def damage(rate: float) -> dict[str, float]:
    """Rates of faults that change, lose and make up octets."""
    return dict.fromkeys(("flip", "lose", "insert"), rate / 3)


def test_a_bad_line_costs_time_but_never_a_frame() -> None:
    design, stream, form = small_image()
    rng = np.random.default_rng(2)
    faults = 0
    with VirtualBoard(design) as board:
        line = FaultyLine(board, {}, random.Random(5))
        link = driver.Driver(line, form, form, MODEL, timeout=0.0005, retries=100)
        for rate in (0.001, 0.01, 0.03):
            line.rates = damage(rate)
            frames = random_frames(stream, 400, rng)
            np.testing.assert_array_equal(link.run(frames), frames)
        line.rates = {}
        faults = line.faults.total()
        status = link.status()
    assert faults > 300
    assert link.session.resent > 100
    assert status.errors > 50


def test_every_unusable_message_is_dropped_and_counted() -> None:
    design, stream, form = small_image()
    frame = form.pack(random_frames(stream, 1, np.random.default_rng(3)))[0]
    whole = encode(Message(FRAME, 7, frame))
    bad = [
        encode(Message(FRAME, 1, frame[:-1])),  # too short
        encode(Message(FRAME, 2, frame + b"\0")),  # too long
        encode(Message(FRAME, 3, bytes(300))),
        encode(Message(STATUS, 4, b"\0")),
        encode(Message(9, 5, frame)),  # of unknown type
        encode(Message(FRAME | REPLY, 6, frame)),
        whole[:-4] + bytes([whole[-4] ^ 1]) + whole[-3:],  # damaged
        whole[:-1] + b"\x7d\x7e",  # given up
        b"\x7e\x02\x7e",  # less than a header
    ]
    with VirtualBoard(design) as board:
        board.timeout = 0.0005
        assert board.exchange(b"\xff\x00\x55\x7e" + b"".join(bad)) == b""
        replies = list(Decoder(300).feed(board.exchange(encode(Message(STATUS, 0xABCD)) + whole + b"\x7e\x7e")))
    assert [(m.type, m.tag) for m in replies] == [(STATUS | REPLY, 0xABCD), (FRAME | REPLY, 7)]
    status = Status.parse(replies[0].payload)
    assert (status.errors, status.frames, status.model) == (len(bad) + 1, 0, MODEL)
    assert replies[1].payload == frame


STRETCH = """
`default_nettype none
module stretch (
    input  wire logic clk, input wire logic rst,
    input  wire logic s_valid, output logic s_ready, input wire logic [7:0] s_data,
    output      logic m_valid, input wire logic m_ready, output logic [7:0] m_data
);
  logic [5:0] left;
  assign s_ready = left == '0;
  assign m_valid = left != '0;
  always_ff @(posedge clk) begin
    if (rst) left <= '0;
    else if (s_valid && s_ready) left <= 6'd40;
    else if (m_valid && m_ready) left <= left - 6'd1;
    if (s_valid && s_ready) m_data <= s_data;
    else if (m_valid && m_ready) m_data <= m_data + 8'd1;
  end
endmodule
"""


def test_frames_without_room_are_dropped_whole_and_the_others_come_back_in_order() -> None:
    byte = DataType["UINT8"]
    design = RtlDesign("stretch", {"s": Stream((1,), byte)}, {"m": Stream((40,), byte)}, {"stretch.sv": STRETCH})
    with VirtualBoard(image(design, find_target("ulx3s-85f"), 75, MODEL)) as virtual:
        virtual.timeout = 0.001
        burst = b"".join(encode(Message(FRAME, tag, bytes([3 * tag]))) for tag in range(60))
        replies = list(Decoder(300).feed(virtual.exchange(burst)))
        status = Status.parse(next(Decoder(300).feed(virtual.exchange(encode(Message(STATUS, 1))))).payload)
    tags = [m.tag for m in replies]
    assert tags == sorted(set(tags))
    assert 10 < len(tags) < 60
    for message in replies:
        assert message.payload == bytes((3 * message.tag + i) % 256 for i in range(40))
    assert (status.frames, status.errors, status.pending) == (len(tags), 60 - len(tags), 0)
    assert status.stalls > 0


def test_the_driver_refuses_a_board_that_is_not_its_own() -> None:
    design, _, form = small_image()
    with VirtualBoard(design) as board:
        with pytest.raises(BitfabricError, match="holds another image"):
            driver.Driver(board, form, form, MODEL + 1, timeout=0.001)
        with pytest.raises(BitfabricError, match="frames of another size"):
            driver.Driver(board, Format((3,), 5, "signed"), form, MODEL, timeout=0.001)
        link = driver.Driver(board, form, form, MODEL, timeout=0.001)
        with pytest.raises(BitfabricError, match=r"frames of shape \(4,\) where the model takes \(12,\)"):
            link.run(np.zeros((2, 4), int))
    with pytest.raises(BitfabricError, match="simulation of the board ended"):
        link.status()


class Port:
    """A port on which ``octets`` arrive over and over, ``each`` at a time; without any it is silent."""

    def __init__(self, octets: bytes, each: int = 4, seconds: float = 0.05) -> None:
        self.octets, self.each, self.seconds = octets, each, seconds
        self.timeout: float | None = None
        self.now, self.written, self.closed = 0.0, 0, False

    def clock(self) -> float:
        return self.now

    def read(self, size: int = 1) -> bytes:
        assert self.timeout is not None
        self.now += self.seconds if self.octets else self.timeout
        octets, count = self.octets, min(size, self.each)
        self.octets = octets[count:] + octets[:count]
        return octets[:count]

    def write(self, data: bytes) -> int:
        self.written += len(data)
        return len(data)

    def close(self) -> None:
        self.closed = True


def test_a_silent_board_is_an_error_not_a_hang() -> None:
    with pytest.raises(BitfabricError, match="no answer from the board"):
        Session(Port(b""), 0.0).connect(MODEL, 1, 1)
    with pytest.raises(BitfabricError, match=r"stopped answering after 0 of 2 frames$"):
        Session(Port(b""), 0.0).run([b"a", b"b"], 1)
    with pytest.raises(BitfabricError, match="cannot open /dev/nothing"):
        open_port("/dev/nothing", 115_200)


CALLS = {
    "status": lambda session: session.status(),
    "connect": lambda session: session.connect(MODEL, 4, 4),
    "run": lambda session: session.run([b"abcd"], 4),
    "many": lambda session: session.run([b"abcd"] * 100, 4, 8),
}


@pytest.mark.quick
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("octets", BABBLE, ids=range(len(BABBLE)))
def test_a_port_on_which_octets_keep_coming_is_an_error_within_the_time_limit(octets: bytes, call: str) -> None:
    for each, seconds in ((1, 0.19), (4, 0.05), (4096, 0.001)):
        port = Port(octets, each, seconds)
        session = Session(port, 0.2, retries=1)
        with pytest.raises(BitfabricError, match=r"port sends octets, but no answer|arrives are no results") as caught:
            CALLS[call](session)
        assert "\n" not in str(caught.value)
        assert port.now <= session.limit(8 * (18 + 4 + 4 + Status.OCTETS)) < 1
        assert len(session._decoder._content) <= 7 + Status.OCTETS


@pytest.mark.skipif(sys.platform != "linux", reason="a pseudo-terminal as a serial port")
def test_a_real_port_that_babbles_or_takes_nothing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    over = threading.Event()

    def babble() -> None:
        while not over.wait(0.005):
            with suppress(BlockingIOError):
                os.write(master, b"I (12) tick\r\n")
                os.read(master, 4096)

    thread = threading.Thread(target=babble, daemon=True)
    thread.start()
    monkeypatch.setattr(ports, "WRITE_TIMEOUT", 0.05)
    port = open_port(os.ttyname(slave), 115_200)
    with pytest.raises(BitfabricError, match="the port sends octets, but no answer"):
        Session(port, 0.05, retries=1).connect(MODEL, 4, 4)
    with pytest.raises(BitfabricError, match="what arrives are no results"):
        Session(port, 0.05, retries=1).run([b"abcd"] * 3, 4, 2)
    over.set()
    thread.join()
    with pytest.raises(BitfabricError, match=r"the port is gone \(Write timeout\)"):
        Session(port, 0.05).run([bytes(1 << 20)], 4)
    port.close()
    os.close(master)
    os.close(slave)


def test_a_run_goes_on_as_long_as_results_come_and_a_late_one_is_not_lost() -> None:
    class Slow(ImageModel):
        """Sends text before each message, and needs most of an attempt's time for both."""

        def read(self, size: int = 1) -> bytes:
            self.now += 0.05
            return super().read(min(size, 4))

        def write(self, data: bytes) -> int:
            self._line += b"tick"
            return super().write(data)

    image = Slow(4, 6)
    session = Session(image, 0.4, retries=1)
    frames = [bytes([i] * 4) for i in range(40)]
    assert session.run(frames, 6, 2) == [image.result(frame) for frame in frames]
    assert image.now > 5 * session.limit(2 * (18 + 4 + 6))


def test_the_memory_of_a_decoder_is_limited_and_it_finds_the_next_message() -> None:
    decoder, message = Decoder(5), Message(FRAME, 3, b"abcde")
    for _ in range(50):
        assert list(decoder.feed(bytes(1000))) == []
    assert len(decoder._content) == 5 + 7
    assert list(decoder.feed(encode(message))) == [message]
    assert decoder.dropped == 1
    assert list(decoder.feed(encode(Message(FRAME, 3, b"abcdef")) + encode(message))) == [message]
    assert decoder.dropped == 2


@pytest.mark.parametrize("faults", [4000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_a_run_on_a_faulty_line_gives_the_right_results_or_one_line_in_time(faults: int) -> None:
    done = campaign(faults, seed=faults)
    assert set(done.outcomes) == {"right", "refused"}, done
    assert min(done.outcomes.values()) > faults // 100
    assert done.faults.total() >= faults


def test_the_campaign_sees_a_wrong_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol.zlib, "crc32", lambda octets: 0)
    assert campaign(500, seed=1).outcomes["wrong"] > 0


def test_the_board_is_looked_for_on_usb_devices_only_and_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    status = encode(Message(STATUS | REPLY, 1, bytes([protocol.VERSION]) + bytes(Status.OCTETS - 1)))
    here: dict[str, Port | ImageModel] = {
        "/dev/ttyS0": Port(b"noise"),
        "/dev/ttyUSB0": Port(b"noise"),
        "/dev/ttyUSB1": Port(b""),
        "/dev/ttyACM0": Port(status),
        "/dev/ttyUSB2": ImageModel(4, 4),
    }
    ids = {"/dev/ttyUSB0": (0x10C4, 0xEA60), "/dev/ttyUSB1": (0x403, 0x6010), "/dev/ttyACM0": (0x303A, 0x1001),
           "/dev/ttyUSB2": (0x403, 0x6010)}  # fmt: skip
    asked: list[str] = []

    def found() -> list[SimpleNamespace]:
        pairs = ((name, *ids.get(name, (None, None))) for name in here)
        return [SimpleNamespace(device=name, vid=vendor, pid=product) for name, vendor, product in pairs]

    def opened(name: str, baud: int) -> Port | ImageModel:
        asked.append(name)
        return here[name]

    monkeypatch.setattr(list_ports, "comports", found)
    monkeypatch.setattr(ports, "open_port", opened)
    assert find_port(3_000_000, MODEL, "0403:6010") is here["/dev/ttyUSB2"]
    assert asked == ["/dev/ttyUSB1", "/dev/ttyUSB2"]
    asked.clear()
    with pytest.raises(
        BitfabricError, match=r"no answer; .*another model .*not asked, no USB device: /dev/ttyS0\); give"
    ):
        find_port(3_000_000, MODEL + 1)
    assert asked == ["/dev/ttyUSB0", "/dev/ttyUSB1", "/dev/ttyACM0", "/dev/ttyUSB2"]
    lines = [line for name, line in here.items() if isinstance(line, Port) and name in ids]
    assert all(line.closed and line.now < 1 for line in lines)


@settings(max_examples=30)
@given(
    st.sampled_from(["BIPOLAR", "UINT1", "INT2", "UINT8", "INT13", "INT32"]),
    st.integers(1, 9),
    st.integers(0, 2**32 - 1),
)
def test_frames_are_packed_without_gaps_whatever_the_lanes(name: str, channels: int, seed: int) -> None:
    stream = Stream((3, channels), DataType[name])
    form = format_of(stream)
    frames = random_frames(stream, 4, np.random.default_rng(seed))
    payloads = form.pack(frames)
    assert {len(p) for p in payloads} == {form.octets}
    assert form.octets == -(-3 * channels * stream.dtype.bitwidth() // 8)
    back = form.unpack(payloads)
    np.testing.assert_array_equal(back, frames)
    assert back.dtype == container(stream.dtype)
    for wrong in (frames.astype(np.int64) + (1 << 33), frames.astype(np.float32)):
        with pytest.raises(BitfabricError, match="no integers from"):
            form.pack(wrong)


def test_many_frames_are_under_way_only_where_there_is_room() -> None:
    wide, narrow = Format((64,), 8, "unsigned"), Format((10,), 8, "signed")
    assert slots(wide, narrow, divisor=20, interval=1000) == 8
    assert slots(wide, narrow, divisor=20, interval=100_000) == 2  # the accelerator is slower than the line
    assert slots(wide, wide, divisor=20, interval=1000) == 2  # results are as long as frames
    assert slots(wide, narrow, divisor=20, interval=None) == 2


def cycles_a_frame(board: VirtualBoard, link: driver.Driver, frames: np.ndarray) -> float:
    """Cycles that each of the frames takes on the simulated line when others are under way before and after it."""
    counted = [board.clocks]
    for some in (frames, np.concatenate([frames, frames])):
        link.run(some)
        counted.append(board.clocks)
    once, twice = np.diff(counted)
    return float(twice - once) / len(frames)


def mean_octets(form: Format, frames: np.ndarray) -> float:
    return float(np.mean([len(encode(Message(FRAME, 0x1234, payload))) for payload in form.pack(frames)]))


@pytest.mark.parametrize("shape", [(5, 12, 4, 12), (2, 9, 9, 9)])
def test_the_stated_rate_of_the_link_is_that_of_the_virtual_board(shape: tuple[int, int, int, int]) -> None:
    """Frames there and back are equally long, and two in flight keep the line nearly full."""
    design, stream, form = small_image(*shape)
    frames = random_frames(stream, 120, np.random.default_rng(12))
    with VirtualBoard(design) as board:
        link = driver.Driver(board, form, form, MODEL, timeout=0.001)
        measured = cycles_a_frame(board, link, frames)
        latency = link.status().cycles
    stated = link_rate(find_target("ulx3s-85f"), 75, form, form, stream.beats, latency)
    assert (stated.baud, stated.divisor, stated.slots) == (design.baud, design.divisor, link.identity.slots)
    octets = mean_octets(form, frames)  # the image itself takes some 60 cycles on a frame's way there and back
    assert measured == pytest.approx(replace(stated, input_octets=octets, output_octets=octets).cycles, abs=40)
    assert measured == pytest.approx(stated.cycles, rel=0.01)
    assert stated.fps * stated.cycles == pytest.approx(75e6)


def test_the_stated_rate_is_that_of_the_longer_direction() -> None:
    byte = DataType["UINT8"]
    short, long = Format((1,), 8, "unsigned"), Format((40,), 8, "unsigned")
    design = RtlDesign("stretch", {"s": Stream((1,), byte)}, {"m": Stream((40,), byte)}, {"stretch.sv": STRETCH})
    frames = np.random.default_rng(13).integers(0, 256, (120, 1))
    with VirtualBoard(image(design, find_target("ulx3s-85f"), 75, MODEL)) as board:
        measured = cycles_a_frame(board, driver.Driver(board, short, long, MODEL, timeout=0.001), frames)
    stated = link_rate(find_target("ulx3s-85f"), 75, short, long, 41, 42)
    assert stated.cycles == stated.output_cycles > 4 * stated.input_cycles
    assert measured == pytest.approx(stated.cycles, rel=0.01)


def test_a_slow_accelerator_leaves_the_line_idle() -> None:
    wide, narrow = Format((64,), 8, "unsigned"), Format((10,), 8, "signed")
    fast, slow = (link_rate(find_target("ulx3s-85f"), 75, wide, narrow, cycles, cycles) for cycles in (1000, 100_000))
    assert (fast.slots, slow.slots) == (8, 2)
    assert fast.cycles == fast.input_cycles
    assert slow.cycles == pytest.approx((slow.input_cycles + slow.output_cycles + 100_000) / 2)
    assert slow.core_fps == 750
    # The board's PLL makes another clock than the one asked for.
    assert link_rate(find_target("icebreaker"), 40, wide, narrow, 1000, 1000).clock_mhz == 39.75


class Cut(FaultyLine):
    """A line that is gone after so many octets, in whichever direction; what was on it is lost."""

    def __init__(self, board: VirtualBoard, after: int) -> None:
        super().__init__(board, {}, random.Random(0))
        self.left = after

    def _damaged(self, octets: bytes) -> bytes:
        if len(octets) > self.left:
            self.inner.write(octets[: self.left])  # part of a message may have gone out
            raise OSError("device disconnected")
        self.left -= len(octets)
        return octets


@pytest.mark.parametrize("times", [25, pytest.param(500, marks=pytest.mark.slow)])
def test_after_a_cable_was_pulled_in_the_middle_the_next_session_gets_its_own_results(times: int) -> None:
    design, stream, form = small_image()
    rng = np.random.default_rng(4)
    with VirtualBoard(design) as board:
        for _ in range(times):
            line = Cut(board, int(rng.integers(0, 600)))
            frames = random_frames(stream, 60, rng)
            with pytest.raises(BitfabricError, match="the port is gone"):
                driver.Driver(line, form, form, MODEL, timeout=0.0005).run(frames)
            link = driver.Driver(board, form, form, MODEL, timeout=0.0005)
            frames = random_frames(stream, 5, rng)
            np.testing.assert_array_equal(link.run(frames), frames)


@pytest.mark.slow
def test_thousands_of_faults_and_no_wrong_result() -> None:
    design, stream, form = small_image()
    rng = np.random.default_rng(6)
    with VirtualBoard(design) as board:
        line = FaultyLine(board, {}, random.Random(7))
        link = driver.Driver(line, form, form, MODEL, timeout=0.0005, retries=1000)
        for rate in (0.005, 0.02, 0.03):
            line.rates = damage(rate)
            frames = random_frames(stream, 2500, rng)
            np.testing.assert_array_equal(link.run(frames), frames)
    assert line.faults.total() > 3000


class Hum:
    """Octets of a pseudo-terminal go wrong now and then."""

    def __init__(self, rate: float, seed: int) -> None:
        self.rate, self.rng, self.faults = rate, random.Random(seed), 0

    def __call__(self, octets: bytes) -> bytes:
        kept = bytearray()
        for octet in octets:
            wrong = self.rng.random() < self.rate
            self.faults += wrong
            if not wrong or self.rng.random() < 0.5:
                kept.append(octet ^ (1 << self.rng.randrange(8) if wrong else 0))
        return bytes(kept)


def test_the_driver_on_a_serial_port_that_is_bad_and_comes_and_goes() -> None:
    design, stream, form = small_image()
    rng, hum = np.random.default_rng(8), Hum(0.0, 9)
    with VirtualBoard(design) as board, PtyBoard(board, hum) as terminal:
        port = open_port(terminal.port, design.baud)
        link = driver.Driver(port, form, form, MODEL, timeout=0.1, retries=100)
        hum.rate = 0.003
        frames = random_frames(stream, 150, rng)
        np.testing.assert_array_equal(link.run(frames), frames)
        hum.rate = 0.0
        assert hum.faults > 10
        assert link.status().frames >= 150
        terminal.unplug()
        with pytest.raises(BitfabricError, match="port is gone"):
            link.run(frames)
        port.close()
        terminal.plug()
        port = open_port(terminal.port, design.baud)
        np.testing.assert_array_equal(driver.Driver(port, form, form, MODEL).run(frames), frames)
        port.close()
