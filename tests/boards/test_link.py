"""The host link: codec, hardware and driver together, on a good line and on a bad one. No wrong frame gets through."""

import random
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qonnx.core.datatype import DataType

from hw.boards.image import format_of, image, slots
from hw.boards.pty_board import PtyBoard
from hw.boards.targets import find_target
from hw.boards.transports import baud_rate
from hw.boards.virtual import VirtualBoard
from hw.host import driver
from hw.host.errors import BitfabricError
from hw.host.packing import Format
from hw.host.ports import open_port
from hw.host.protocol import FRAME, MESSAGE_OCTETS, REPLY, STATUS, Decoder, Message, Status, encode, line_octets
from hw.ir.stream import Stream, container
from hw.rtl.design import RtlDesign
from hw.simulation import verilator
from tests.boards.faulty_line import MODEL, FaultyLine
from tests.boards.small_images import STRETCH, several_outputs, small_image
from tests.kernels.kernel_bench import random_frames

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


@pytest.mark.parametrize("shape", [(5, 12, 4, 12), (13, 8, 2, 1), (2, 9, 9, 3)])
def test_frames_of_any_width_come_back_through_the_image(shape: tuple[int, int, int, int]) -> None:
    design, stream, form = small_image(*shape)
    verilator.lint(design.design)
    frames = random_frames(stream, 20, np.random.default_rng(0))
    calls: list[tuple[int, int]] = []
    with VirtualBoard(design) as board:
        link = driver.Driver(board, (form,), (form,), MODEL, timeout=0.001)
        np.testing.assert_array_equal(link.run(frames, progress=lambda *done: calls.append(done))[0], frames)
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
        link = driver.Driver(board, (form,), (form,), MODEL, timeout=0.001)
        np.testing.assert_array_equal(link.run(frames)[0], frames)
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
        link = driver.Driver(line, (form,), (form,), MODEL, timeout=0.0005, retries=100)
        for rate in (0.001, 0.01, 0.03):
            line.rates = damage(rate)
            frames = random_frames(stream, 400, rng)
            np.testing.assert_array_equal(link.run(frames)[0], frames)
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


def test_every_output_comes_back_also_on_a_bad_line() -> None:
    design, graph = several_outputs()
    verilator.lint(design.design)
    rng = np.random.default_rng(15)
    forms = [format_of(graph.edges[edge]) for edge in graph.output_edges]
    with VirtualBoard(design) as board:
        line = FaultyLine(board, {}, random.Random(16))
        link = driver.Driver(line, [format_of(graph.edges["x"])], forms, MODEL, timeout=0.0005, retries=100)
        for count, rate in ((20, 0.0), (100, 0.01)):
            line.rates = damage(rate)
            frames = random_frames(graph.edges["x"], count, rng)
            expected = graph.execute({"x": frames})
            for edge, found in zip(graph.output_edges, link.run(frames), strict=True):
                np.testing.assert_array_equal(found, expected[edge])
            if not rate:
                status = link.status()
                assert (status.frames, status.pending, link.session.resent) == (20, 0, 0)
        line.rates = {}
        assert line.faults.total() > 10
        status = link.status()
    taken = verilator.build(design.accelerator).run({"s": frames[:1]}).taken
    last = max(cycles[-1] for name, cycles in taken.items() if name != "s")
    assert status.cycles == last - taken["s"][0] + 1
    assert status.pending == 0


def test_the_driver_refuses_a_board_that_is_not_its_own() -> None:
    design, _, form = small_image()
    with VirtualBoard(design) as board:
        with pytest.raises(BitfabricError, match="holds another image"):
            driver.Driver(board, (form,), (form,), MODEL + 1, timeout=0.001)
        with pytest.raises(BitfabricError, match="frames of another size"):
            driver.Driver(board, (Format((3,), 5, "signed"),), (form,), MODEL, timeout=0.001)
        link = driver.Driver(board, (form,), (form,), MODEL, timeout=0.001)
        with pytest.raises(BitfabricError, match=r"frames of shape \(4,\) where the model takes \(12,\)"):
            link.run(np.zeros((2, 4), int))
    with pytest.raises(BitfabricError, match="simulation of the board ended"):
        link.status()


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
    assert slots(wide.octets, narrow.octets, cycles=200, interval=1000) == 8
    assert (
        slots(wide.octets, narrow.octets, cycles=200, interval=100_000) == 2
    )  # the accelerator is slower than the line
    assert slots(wide.octets, wide.octets, cycles=200, interval=1000) == 2  # results are as long as frames
    assert slots(wide.octets, narrow.octets, cycles=200, interval=None) == 2


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
                driver.Driver(line, (form,), (form,), MODEL, timeout=0.0005).run(frames)
            link = driver.Driver(board, (form,), (form,), MODEL, timeout=0.0005)
            frames = random_frames(stream, 5, rng)
            np.testing.assert_array_equal(link.run(frames)[0], frames)


@pytest.mark.slow
def test_thousands_of_faults_and_no_wrong_result() -> None:
    design, stream, form = small_image()
    rng = np.random.default_rng(6)
    with VirtualBoard(design) as board:
        line = FaultyLine(board, {}, random.Random(7))
        link = driver.Driver(line, (form,), (form,), MODEL, timeout=0.0005, retries=1000)
        for rate in (0.005, 0.02, 0.03):
            line.rates = damage(rate)
            frames = random_frames(stream, 2500, rng)
            np.testing.assert_array_equal(link.run(frames)[0], frames)
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
        port = open_port(terminal.port, design.transport.baud)
        link = driver.Driver(port, (form,), (form,), MODEL, timeout=0.1, retries=100)
        hum.rate = 0.003
        frames = random_frames(stream, 150, rng)
        np.testing.assert_array_equal(link.run(frames)[0], frames)
        hum.rate = 0.0
        assert hum.faults > 10
        assert link.status().frames >= 150
        terminal.unplug()
        with pytest.raises(BitfabricError, match="port is gone"):
            link.run(frames)
        port.close()
        terminal.plug()
        port = open_port(terminal.port, design.transport.baud)
        np.testing.assert_array_equal(driver.Driver(port, (form,), (form,), MODEL).run(frames)[0], frames)
        port.close()
