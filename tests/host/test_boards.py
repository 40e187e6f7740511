"""Ports of SPI and of an FT232H, on stand-ins of the packages that open them."""

import inspect
import sys
from types import GetSetDescriptorType, ModuleType, SimpleNamespace

import pytest
from pyftdi.ftdi import Ftdi

from hw.host import boards
from hw.host.boards import open_board
from hw.host.errors import UsageError
from hw.host.interface import Interface
from hw.host.protocol import ESCAPE, FILL, TOGGLE
from hw.host.session import Session
from tests.boards.faulty_line import MODEL, ImageModel


def interface(transport: str, **settings: int | str) -> Interface:
    return Interface(MODEL, transport, dict(settings), (), (), (), {})


ESCAPED_FILL = bytes([ESCAPE, FILL ^ TOGGLE])


class FakePins:
    """An image behind an SPI device or an FT232H."""

    def __init__(self) -> None:
        self.image = ImageModel(6, 4)
        self.image.timeout = 0.0
        self.opened: list[object] = []
        self.modes: list[object] = []
        self.line = b""
        self.max_speed_hz = self.mode = -1

    def open(self, *names: object) -> None:
        self.opened += names

    open_from_url = open

    def set_latency_timer(self, milliseconds: int) -> None:
        assert milliseconds == 1

    def purge_buffers(self) -> None:
        pass

    def set_bitmode(self, bitmask: int, mode: object) -> None:
        self.modes.append((bitmask, mode))

    def set_flowctrl(self, flowctrl: str) -> None:
        self.modes.append(flowctrl)

    def xfer2(self, octets: list[int]) -> list[int]:
        assert len(octets) <= 4096
        got = self.line[: len(octets)]
        self.image.write(bytes(octets))
        self.line = self.line[len(octets) :] + self.image.read(1 << 12).replace(bytes([FILL]), ESCAPED_FILL)
        return list(got + bytes([FILL]) * (len(octets) - len(got)))

    def write_data(self, data: bytes) -> int:
        return self.image.write(data)

    def read_data(self, size: int) -> bytes:
        return self.image.read(size)

    def close(self) -> None:
        self.opened.append("closed")


class FakeFtdi:
    """In place of pyftdi's class."""

    BitMode = Ftdi.BitMode

    def __init__(self, pins: FakePins) -> None:
        self.pins = pins

    def __call__(self) -> FakePins:
        return self.pins


def test_the_stand_in_has_the_methods_of_pyftdi() -> None:
    for name in ("open_from_url", "set_bitmode", "set_flowctrl", "set_latency_timer", "purge_buffers", "write_data",
                 "read_data", "close"):  # fmt: skip
        assert callable(getattr(Ftdi, name))
        assert callable(getattr(FakePins, name))
        if name not in ("open_from_url", "close"):  # which take any port, and a further argument
            both = (inspect.signature(each).parameters for each in (getattr(Ftdi, name), getattr(FakePins, name)))
            first, second = (len(each) for each in both)
            assert first == second, name


def test_the_stand_in_has_the_methods_of_spidev() -> None:
    real = pytest.importorskip("spidev", reason="spidev is built from source, with the headers of Python").SpiDev
    for name in ("open", "xfer2", "close"):
        assert callable(getattr(real, name))
        assert callable(getattr(FakePins, name))
    assert {type(each) for each in (real.max_speed_hz, real.mode)} == {GetSetDescriptorType}


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> FakePins:
    found = FakePins()
    for name, module in (
        ("spidev", SimpleNamespace(SpiDev=lambda: found)),
        ("pyftdi", ModuleType("pyftdi")),
        ("pyftdi.ftdi", SimpleNamespace(Ftdi=FakeFtdi(found))),
    ):
        monkeypatch.setitem(sys.modules, name, module)
    return found


def test_a_session_over_spi(wire: FakePins) -> None:
    port = open_board(interface("spi", hz=15_000_000), "/dev/spidev0.1")
    assert (wire.opened, wire.max_speed_hz, wire.mode) == ([0, 1], 15_000_000, 0)
    session = Session(port, 0.01)
    session.connect(MODEL, 6, 4)
    frames = [bytes([i % 100] * 6) for i in range(50)]
    assert session.run(frames, 4, 2) == [wire.image.result(frame) for frame in frames]
    port.timeout = 0.001
    assert port.read(5) == b""
    port.close()
    assert wire.opened[-1] == "closed"


RESET, SYNCHRONOUS = (0xFF, Ftdi.BitMode.RESET), (0xFF, Ftdi.BitMode.SYNCFF)


@pytest.mark.parametrize(("kind", "modes"), [("fifo", [RESET]), ("fifo_sync", [RESET, SYNCHRONOUS, "hw"])])
def test_a_session_over_an_ft232h(wire: FakePins, kind: str, modes: list[object]) -> None:
    port = open_board(interface(kind, usb="0403:6014"))
    assert (wire.opened, wire.modes) == (["ftdi://0x0403:0x6014/1"], modes)
    session = Session(port, 0.01)
    session.connect(MODEL, 6, 4)
    frames = [bytes([i] * 6) for i in range(50)]
    assert session.run(frames, 4, 2) == [wire.image.result(frame) for frame in frames]
    port.timeout = 0.001
    assert port.read(5) == b""


def test_what_is_missing_or_wrong_ends_in_one_line(monkeypatch: pytest.MonkeyPatch, wire: FakePins) -> None:
    spi, fifo = interface("spi", hz=10_000_000), interface("fifo", usb="0403:6014")

    def refused(match: str, *given: object) -> None:
        with pytest.raises(UsageError, match=match) as told:
            open_board(*given)  # type: ignore[arg-type]
        assert str(told.value).isprintable()

    refused(r"no port is looked for; give it, as --port /dev/spidev0\.0", spi)
    refused("the image's link is can, which this driver does not know", interface("can"))

    def absent(*names: object) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(wire, "open", absent)
    monkeypatch.setattr(wire, "open_from_url", absent)
    refused(r"cannot open /dev/spidev3\.0: No such file or directory; enable SPI", spi, "/dev/spidev3.0")
    refused(r"cannot open ftdi://ftdi:232h/2: .* rights to it", fifo, "ftdi://ftdi:232h/2")
    monkeypatch.setitem(sys.modules, "spidev", None)
    monkeypatch.setitem(sys.modules, "pyftdi", None)
    monkeypatch.setitem(sys.modules, "pyftdi.ftdi", None)
    refused(r"no spidev: pip install 'bitfabric\[spi\]'", spi, "/dev/spidev0.0")
    refused(r"no pyftdi: pip install 'bitfabric\[ftdi\]'", fifo)
    # Another name is a simulated board's.
    asked: list[object] = []
    monkeypatch.setattr(boards, "open_port", lambda *given: asked.append(given))
    open_board(spi, "/dev/pts/7")
    open_board(fifo, "/dev/pts/8")
    assert asked == [("/dev/pts/7", 3_000_000), ("/dev/pts/8", 3_000_000)]
