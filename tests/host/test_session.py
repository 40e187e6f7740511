"""The host's session on ports that are silent, babble, or damage octets: the right results, or one line."""

import os
import sys
import threading
import tty
from contextlib import suppress
from types import SimpleNamespace

import pytest
from serial.tools import list_ports

from hw.host import ports, protocol
from hw.host.errors import BitfabricError
from hw.host.ports import find_port, open_port
from hw.host.protocol import FRAME, REPLY, STATUS, Decoder, Message, Status, encode
from hw.host.session import Session
from tests.boards.faulty_line import BABBLE, MODEL, ImageModel, campaign


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
        assert port.now <= session.limit(max(8 * (9 + 4) + 18 + Status.OCTETS, 8 * (18 + 4 + 4))) < 1
        assert len(session._decoder._content) <= 7 + Status.OCTETS + 64


@pytest.mark.skipif(sys.platform != "linux", reason="a pseudo-terminal as a serial port")
def test_a_real_port_that_babbles_or_takes_nothing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    over = threading.Event()

    def fill() -> None:
        with suppress(BlockingIOError):
            while True:
                os.write(master, b"I (12) tick\r\n")

    def babble() -> None:
        while not over.wait(0.005):
            fill()
            with suppress(BlockingIOError):
                os.read(master, 4096)

    thread = threading.Thread(target=babble, daemon=True)
    thread.start()
    monkeypatch.setattr(ports, "WRITE_TIMEOUT", 0.05)
    port = open_port(os.ttyname(slave), 115_200)
    fill()  # the thread may come late on a busy machine
    with pytest.raises(BitfabricError, match="the port sends octets, but no answer"):
        Session(port, 0.05, retries=1).connect(MODEL, 4, 4)
    fill()
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
        """Sends text before each message, and needs most of an attempt's time for both, whatever is escaped."""

        def read(self, size: int = 1) -> bytes:
            self.now += 0.04
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
