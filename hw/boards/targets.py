"""Targets of a build: devices, and boards that carry one. A board is one short YAML file; users can give their own.

Values of a board file become part of SystemVerilog, constraint files and command lines. So every field is validated
before anything else is done with it.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from hw.fabric import yaml_text
from hw.fabric.devices import Device
from hw.fabric.identifiers import KEYWORDS
from hw.families import devices, find_device, spec_of
from hw.host.errors import UsageError, unknown
from hw.host.files import read_text

BOARD_SUFFIXES = (".yaml", ".yml")
"""Suffix of a board file."""
MAX_FILE = 1 << 16
"""Most octets of a board file."""
_SIGNALS = """
    accelerator busy clk clk_board eth_fall eth_high eth_low eth_reset eth_rise eth_rx_clk eth_rx_ctl eth_rx_data
    eth_tx_clk eth_tx_ctl eth_tx_data faulty fifo_clkout fifo_d fifo_drive fifo_in fifo_oe fifo_out fifo_rd
    fifo_rxf fifo_siwu fifo_txe fifo_wr g_pad g_pads host image led locked logic m_data m_ready m_valid
    parity_error pll pll_unused port receiver reset reset_logic rst rx_data rx_error rx_ready rx_valid s_data
    s_ready s_valid spi_cs spi_miso spi_mosi spi_sck transmitter tx_data tx_ready tx_valid uart_rx uart_tx
"""
SLOWEST_BAUD = 115_200
"""The slowest baud rate of a host link."""
LINKS = ("uart", "spi", "fifo", "ethernet")
"""The host links that a board may have."""
RESERVED = frozenset(_SIGNALS.split())
"""Names that the image uses itself (``hw.boards.image``)."""


def _text(what: str, pattern: str, reserved: frozenset[str] = frozenset()) -> BeforeValidator:
    """The validator of a text that matches ``pattern``; ``what`` says in words what is allowed."""

    def check(value: Any) -> str:
        if not isinstance(value, str):
            shown = repr(value) if isinstance(value, int | float) else f"a {type(value).__name__}"
            raise ValueError(f"{shown} is not a text; allowed: {what}; a number must be in quotes")
        if not re.fullmatch(pattern, value, re.ASCII):
            shown = value if len(value) <= 40 else f"{value[:40]}..."
            raise ValueError(f"{shown!r}; allowed: {what}")
        if value.lower() in reserved:
            raise ValueError(f"{value!r} is reserved; choose another name")
        return value

    return BeforeValidator(check)


def _at_most(count: int) -> Callable[[Any], Any]:
    """The validator of a list or mapping with at most ``count`` entries."""

    def check(value: Any) -> Any:
        if isinstance(value, list | tuple | dict) and len(value) > count:
            raise ValueError(f"{len(value)} entries; allowed: at most {count}")
        return value

    return check


_NAME = "1 to 64 letters, digits, '_', '.' and '-', a letter or digit first"
Name: TypeAlias = Annotated[str, _text(_NAME, r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")]
PinName: TypeAlias = Annotated[str, _text("a pin's name of 1 to 16 letters, digits and '_'", r"\w{1,16}")]
IoStandard: TypeAlias = Annotated[
    str, _text("an I/O standard of 1 to 16 letters, digits and '_', as LVCMOS33", r"[A-Za-z]\w{0,15}")
]
PortName: TypeAlias = Annotated[
    str,
    _text("a port's name of 1 to 32 letters, digits and '_', a letter first", r"[A-Za-z]\w{0,31}", KEYWORDS | RESERVED),
]
PartCode: TypeAlias = Annotated[str, _text("1 to 32 letters, digits and '-'", r"[A-Za-z0-9][A-Za-z0-9-]{0,31}")]
UsbIds: TypeAlias = Annotated[
    str, _text('vendor and product in hexadecimal, in quotes, as "0403:6010"', r"[0-9a-f]{4}:[0-9a-f]{4}")
]


def _mac_address(value: str) -> str:
    """Refuse a MAC address that no station has."""
    if int(value[:2], 16) & 1 or not int(value.replace(":", ""), 16):
        raise ValueError(f"{value!r} is the address of no station; take one as 02:00:00:00:00:01, which is for own use")
    return value


def _ip_address(value: Any) -> str:
    """The validator of the IPv4 address of a station."""
    try:
        address = IPv4Address(value if isinstance(value, str) else "")
    except AddressValueError:
        raise ValueError(f"{value!r} is no IPv4 address, as 192.168.1.50") from None
    if address.is_multicast or address.is_loopback or address.is_unspecified or address.is_reserved:
        raise ValueError(f"{value!r} is the address of no station in a network; give one as 192.168.1.50")
    return str(address)


MacAddress: TypeAlias = Annotated[
    str,
    AfterValidator(_mac_address),
    _text('a MAC address, in quotes, as "02:00:00:00:00:01"', r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}"),
]
IpAddress: TypeAlias = Annotated[str, BeforeValidator(_ip_address)]
DelayNs: TypeAlias = Annotated[float, Field(ge=0, le=3, strict=True, allow_inf_nan=False)]


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Clock(_Data):
    """The oscillator."""

    pin: PinName
    mhz: Annotated[float, Field(gt=0, le=1000, strict=True, allow_inf_nan=False)]


class Uart(_Data):
    """The serial port as the FPGA sees it: it receives on ``rx`` and sends on ``tx``.

    ``usb``: the USB ids of the board's serial port, ``vendor:product``; the driver asks such ports first.
    """

    rx: PinName
    tx: PinName
    max_baud: Annotated[int, Field(ge=SLOWEST_BAUD, le=100_000_000, strict=True)]
    usb: UsbIds | None = None

    @property
    def pins(self) -> tuple[str, ...]:
        """All pins."""
        return self.rx, self.tx


class Spi(_Data):
    """The FPGA as an SPI slave of mode 0: it receives on ``mosi`` and sends on ``miso``, which it always drives.

    ``max_mhz``: the fastest SCK that the wiring and the master allow.
    """

    sck: PinName
    mosi: PinName
    miso: PinName
    cs: PinName
    max_mhz: Annotated[float, Field(gt=0, le=100, strict=True, allow_inf_nan=False)]

    @property
    def pins(self) -> tuple[str, ...]:
        """All pins."""
        return self.sck, self.mosi, self.miso, self.cs


class Fifo(_Data):
    """An FT232H (or channel A of an FT2232H) in 245 FIFO mode, set in its EEPROM: the eight pins of ``data`` (D0
    first), RXF#, TXE#, RD# and WR#.

    ``mode``: ``synchronous`` transfers with the chip's own clock, and needs the pins CLKOUT, OE# and SIWU# as well.
    ``usb``: the USB ids of the chip, ``vendor:product``.
    """

    data: Annotated[tuple[PinName, ...], Field(min_length=8, max_length=8)]
    rxf: PinName
    txe: PinName
    rd: PinName
    wr: PinName
    mode: Literal["asynchronous", "synchronous"] = "asynchronous"
    clkout: PinName | None = None
    oe: PinName | None = None
    siwu: PinName | None = None
    usb: UsbIds = "0403:6014"

    @model_validator(mode="after")
    def _pins_of_the_mode(self) -> "Fifo":
        given = {name: getattr(self, name) for name in ("clkout", "oe", "siwu")}
        if self.mode == "synchronous" and None in given.values():
            missing = next(name for name, pin in given.items() if pin is None)
            raise ValueError(f"the synchronous mode needs the pin '{missing}' too")
        if self.mode == "asynchronous" and any(given.values()):
            extra = next(name for name, pin in given.items() if pin is not None)
            raise ValueError(f"'{extra}' is a pin of the synchronous mode; give 'mode: synchronous', or leave it out")
        return self

    @property
    def pins(self) -> tuple[str, ...]:
        """All pins."""
        others = (self.clkout, self.oe, self.siwu)
        return *self.data, self.rxf, self.txe, self.rd, self.wr, *(pin for pin in others if pin is not None)


class Ethernet(_Data):
    """A PHY for 1 Gbit/s behind RGMII, and the address of the board. ``rx_data`` and ``tx_data`` begin with bit 0; the
    PHY is reset while ``reset`` is low.

    ``rx_delay_ns``, ``tx_delay_ns``: how long the FPGA delays what it receives, without the clock, and the clock that
    it sends; 2 ns together with what the PHY and the wires delay.
    """

    rx_clk: PinName
    rx_ctl: PinName
    rx_data: Annotated[tuple[PinName, ...], Field(min_length=4, max_length=4)]
    tx_clk: PinName
    tx_ctl: PinName
    tx_data: Annotated[tuple[PinName, ...], Field(min_length=4, max_length=4)]
    reset: PinName
    rx_delay_ns: DelayNs
    tx_delay_ns: DelayNs
    mac: MacAddress
    ip: IpAddress
    port: Annotated[int, Field(ge=1, le=65535, strict=True)]

    @property
    def pins(self) -> tuple[str, ...]:
        """All pins."""
        received = self.rx_clk, self.rx_ctl, *self.rx_data
        return *received, self.tx_clk, self.tx_ctl, *self.tx_data, self.reset


Link: TypeAlias = Uart | Spi | Fifo | Ethernet


class Button(_Data):
    """A push button. ``active``: its level when pushed; ``io``: the I/O standard, where it is not the board's."""

    pin: PinName
    io: IoStandard | None = None
    pull: Literal["up", "down", "none"] = "none"
    active: Literal["high", "low"] = "high"


class Board(_Data):
    """A board, as its YAML file states it.

    Attributes:
        name: name of the target.
        device: the FPGA of the board; or
        devices: variant -> FPGA. The targets are then called ``<name>-<variant>``.
        package: package of the FPGA, where it is not the device's default.
        speed: speed grade of the FPGA, where it is not the device's default.
        io: I/O standard of the pins; an iCE40 has no choice.
        programmer: name of the board in openFPGALoader.
        clock: the oscillator; on an iCE40 it must be at the pin of the PLL.
        uart: the serial port; and
        spi: SPI; and
        fifo: an FT232H; and
        ethernet: Ethernet, of which a board has at least one.
        link: which of them is the host link, where there are several.
        reset: a button that resets the design.
        leds: pins of LEDs, see ``image``.
        leds_active: level that lights an LED.
        high: name -> pin that the image drives to 1.
    """

    name: Name
    device: PartCode | None = None
    devices: Annotated[dict[PartCode, PartCode], BeforeValidator(_at_most(16))] = {}
    package: PartCode | None = None
    speed: PartCode | None = None
    io: IoStandard = "LVCMOS33"
    programmer: Name | None = None
    clock: Clock
    uart: Uart | None = None
    spi: Spi | None = None
    fifo: Fifo | None = None
    ethernet: Ethernet | None = None
    link: Literal["uart", "spi", "fifo", "ethernet"] | None = None
    reset: Button | None = None
    leds: Annotated[tuple[PinName, ...], BeforeValidator(_at_most(64))] = ()
    leds_active: Literal["high", "low"] = "high"
    high: Annotated[dict[PortName, PinName], BeforeValidator(_at_most(64))] = {}

    @model_validator(mode="after")
    def _one_or_several(self) -> "Board":
        if (self.device is None) == (not self.devices):
            raise ValueError("give either 'device' or 'devices'")
        return self

    @model_validator(mode="after")
    def _linked(self) -> "Board":
        links = [name for name in LINKS if getattr(self, name) is not None]
        if not links:
            raise ValueError("it has no host link; give one of 'uart', 'spi', 'fifo' and 'ethernet' with its pins")
        if self.link is not None and self.link not in links:
            raise ValueError(f"'link' asks for {self.link}, and the file has no '{self.link}' with its pins")
        if self.link is None and len(links) > 1:
            raise ValueError(f"it has {' and '.join(links)}; say with 'link' which is the host link")
        return self

    @property
    def chosen_link(self) -> Link:
        """The host link."""
        links: dict[str, Link | None] = {name: getattr(self, name) for name in LINKS}
        chosen = links[self.link] if self.link else next((each for each in links.values() if each), None)
        assert chosen is not None, "a board file without a link is refused"
        return chosen

    @model_validator(mode="after")
    def _pins_differ(self) -> "Board":
        pins = [self.clock.pin, *self.leds, *self.high.values()]
        pins += [pin for name in LINKS if (link := getattr(self, name)) for pin in link.pins]
        pins += [self.reset.pin] if self.reset else []
        pin, count = Counter(pins).most_common(1)[0]
        if count > 1:
            raise ValueError(f"pin {pin} is given {count} times; a pin has one use")
        return self


@dataclass(frozen=True)
class Target:
    """The target of a build. ``board`` is None for a bare device; such a build ends without a bitstream."""

    name: str
    device: Device
    board: Board | None = None


_FAULTS = {
    "missing": "it is missing",
    "extra_forbidden": "no field of that name; docs/boards.md lists the fields",
    **dict.fromkeys(("model_type", "model_attributes_type"), "it has no fields; docs/boards.md shows a board file"),
}
"""What is said of the kinds of faults of which pydantic speaks in its own terms."""


def load_board(path: Path) -> Board:
    """A board from its YAML file. Raises UsageError that names the file, the field at fault, and what is allowed."""
    try:
        return Board.model_validate(yaml_text.parse(read_text(path, MAX_FILE, "board file")))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "file"
        said = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"board file {path}: {where}: {_FAULTS.get(first['type'], said)}") from None
    except ValueError as error:
        raise UsageError(f"board file {path} is not YAML: {error}") from None


def board_targets(board: Board) -> list[Target]:
    """One target for each device that the board comes with. Raises UsageError that names the field at fault."""

    def target(name: str, field: str, part: str) -> Target:
        try:
            fpga = find_device(part)
        except UsageError as error:
            raise UsageError(f"board {board.name}: {field}: {error}") from None
        carried = spec_of(fpga.family).on_board
        for choice in () if carried else ("package", "speed"):
            if getattr(board, choice) and not getattr(fpga, choice):
                raise UsageError(f"board {board.name}: a {fpga.name} has no '{choice}' to choose; leave it out")
        if carried is not None:
            if not board.package or not board.speed:
                raise UsageError(
                    f"board {board.name}: give 'package' and 'speed' of the {fpga.name}, as csg324 and '1'"
                )
            return Target(name, carried(fpga, board.package, board.speed, board.clock.mhz), board)
        if not fpga.routable:
            raise UsageError(f"board {board.name}: {fpga.name} is for synthesis only; no image can be made")
        low, high = fpga.pll.input_mhz if fpga.pll else (0, board.clock.mhz)
        if not low <= board.clock.mhz <= high:
            raise UsageError(
                f"board {board.name}: clock.mhz: {board.clock.mhz:g} is not from {low:g} to {high:g}, which the PLL of "
                f"a {fpga.name} takes; give another oscillator"
            )
        return Target(
            name, replace(fpga, package=board.package or fpga.package, speed=board.speed or fpga.speed), board
        )

    if board.device is not None:
        return [target(board.name, "device", board.device)]
    return [target(f"{board.name}-{key}", f"devices.{key}", part) for key, part in board.devices.items()]


@cache
def _boards() -> tuple[Target, ...]:
    """The boards of this folder, by name of their files."""
    shipped = sorted((p for p in files("hw.boards").iterdir() if p.name.endswith(".yaml")), key=lambda p: p.name)
    return tuple(target for path in shipped for target in board_targets(load_board(Path(str(path)))))


def targets() -> tuple[Target, ...]:
    """All built-in targets: the boards, then the devices."""
    return (*_boards(), *(Target(part.name, part) for part in devices().values()))


def find_target(name: str) -> Target:
    """The target ``name``: a board, a device, or a user's board file (``my.yaml``).

    Raises UsageError for an unknown name, with the nearest ones.
    """
    if name.endswith(BOARD_SUFFIXES):
        found = board_targets(load_board(Path(name)))
        if len(found) > 1:
            raise UsageError(f"board file {name} has several devices; give one with 'device'")
        return found[0]
    for target in targets():
        if target.name == name.lower():
            return target
    raise unknown("target", name, [target.name for target in targets()])
