"""Targets of a build: devices, and boards that carry one. A board is one short YAML file; users can give their own."""

from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hw.fabric.devices import Device
from hw.families import devices, find_device
from hw.host.errors import UsageError, unknown

BOARD_SUFFIXES = (".yaml", ".yml")
"""Suffix of a board file."""


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Clock(_Data):
    """The oscillator."""

    pin: str
    mhz: Annotated[float, Field(gt=0)]


class Uart(_Data):
    """The serial port as the FPGA sees it: it receives on ``rx`` and sends on ``tx``.

    ``usb``: the USB ids of the board's serial port, ``vendor:product``; the driver asks such ports first.
    """

    rx: str
    tx: str
    max_baud: Annotated[int, Field(gt=0)]
    usb: str = ""


class Button(_Data):
    """A push button. ``active``: its level when pushed; ``io``: the I/O standard, where it is not the board's."""

    pin: str
    io: str | None = None
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
        uart: the serial port.
        reset: a button that resets the design.
        leds: pins of LEDs, see ``image``.
        leds_active: level that lights an LED.
        high: name -> pin that the image drives to 1.
    """

    name: str
    device: str | None = None
    devices: dict[str, str] = {}
    package: str | None = None
    speed: str | None = None
    io: str = "LVCMOS33"
    programmer: str | None = None
    clock: Clock
    uart: Uart
    reset: Button | None = None
    leds: tuple[str, ...] = ()
    leds_active: Literal["high", "low"] = "high"
    high: dict[str, str] = {}

    @model_validator(mode="after")
    def _one_or_several(self) -> "Board":
        if (self.device is None) == (not self.devices):
            raise ValueError("give either 'device' or 'devices'")
        return self


@dataclass(frozen=True)
class Target:
    """The target of a build. ``board`` is None for a bare device; such a build ends without a bitstream."""

    name: str
    device: Device
    board: Board | None = None


def load_board(path: Path) -> Board:
    """A board from its YAML file. Raises UsageError that names the field at fault."""
    try:
        return Board.model_validate(yaml.safe_load(path.read_text()))
    except OSError as error:
        raise UsageError(f"cannot read the board file {path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise UsageError(f"board file {path} is not YAML: {str(error).splitlines()[0]}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "file"
        raise UsageError(f"board file {path}: {where}: {first['msg']}") from None


def board_targets(board: Board) -> list[Target]:
    """One target for each device that the board comes with."""

    def target(name: str, part: str) -> Target:
        fpga = find_device(part)
        for field in ("package", "speed"):
            if getattr(board, field) and not getattr(fpga, field):
                raise UsageError(f"board {board.name}: a {fpga.name} has no '{field}' to choose; leave it out")
        if not fpga.routable:
            raise UsageError(f"board {board.name}: {fpga.name} is for synthesis only; no image can be made")
        return Target(
            name, replace(fpga, package=board.package or fpga.package, speed=board.speed or fpga.speed), board
        )

    if board.device is not None:
        return [target(board.name, board.device)]
    return [target(f"{board.name}-{variant}", part) for variant, part in board.devices.items()]


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
