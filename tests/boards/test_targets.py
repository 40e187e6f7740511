"""Devices, boards and targets: the data are right, and a wrong name or file is refused in one line."""

import os
import random
import re
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from amaranth.build import Pins, Subsignal
from amaranth_boards.arty_a7 import ArtyA7_35Platform, ArtyA7_100Platform
from amaranth_boards.cmod_a7 import CmodA7_35Platform
from amaranth_boards.ecpix5 import ECPIX545Platform, ECPIX585Platform
from amaranth_boards.icebreaker import ICEBreakerPlatform
from amaranth_boards.orangecrab_r0_2 import OrangeCrabR0_2_25FPlatform, OrangeCrabR0_2_85FPlatform
from amaranth_boards.tang_nano_9k import TangNano9kPlatform
from amaranth_boards.ulx3s import ULX3S_12F_Platform, ULX3S_25F_Platform, ULX3S_45F_Platform, ULX3S_85F_Platform
from qonnx.core.datatype import DataType

from hw.boards.image import image
from hw.boards.targets import RESERVED, Board, find_target, targets
from hw.fabric.identifiers import KEYWORDS
from hw.fabric.resources import Resources
from hw.families import devices, find_device
from hw.families.ecp5 import ECP5
from hw.host.errors import BitfabricError, UsageError
from hw.ir.stream import Stream
from hw.kernels.fifo.kernel import Fifo
from hw.rtl.design import generate
from tests.builders.hostile_names import HOSTILE
from tests.kernels.kernel_bench import alone


def test_every_board_has_a_device_and_every_target_its_resources() -> None:
    names = [target.name for target in targets()]
    boards = {target.name for target in targets() if target.board is not None}
    assert boards == {
        *("ulx3s-12f", "ulx3s-25f", "ulx3s-45f", "ulx3s-85f", "ecpix5-45f", "ecpix5-85f"),
        *("orangecrab-25f", "orangecrab-85f", "icebreaker", "tangnano9k"),
        *("arty-a7-35", "arty-a7-100", "basys3", "cmod-a7-35", "pynq-z1", "pynq-z2"),
    }
    assert len(set(names)) == len(names)
    assert set(devices()) <= set(names)
    for target in targets():
        capacity = target.device.capacity
        assert min(capacity.lut, capacity.ff, capacity.bram, capacity.dsp) > 0
        assert target.device.routable == (target.device.family.name != "xc7" or target.board is not None)
    assert find_device("lfe5u-85f").capacity == Resources(83640, 83640, 208, 156)
    assert find_target("ULX3S-85F").device.name == "lfe5u-85f"


PLATFORMS = {
    "ulx3s-12f": ULX3S_12F_Platform,
    "ulx3s-25f": ULX3S_25F_Platform,
    "ulx3s-45f": ULX3S_45F_Platform,
    "ulx3s-85f": ULX3S_85F_Platform,
    "ecpix5-45f": ECPIX545Platform,
    "ecpix5-85f": ECPIX585Platform,
    "orangecrab-25f": OrangeCrabR0_2_25FPlatform,
    "orangecrab-85f": OrangeCrabR0_2_85FPlatform,
    "icebreaker": ICEBreakerPlatform,
    "tangnano9k": TangNano9kPlatform,
    "arty-a7-35": ArtyA7_35Platform,
    "arty-a7-100": ArtyA7_100Platform,
    "cmod-a7-35": CmodA7_35Platform,
}


def pins_of(platform: type) -> dict[str, list[tuple[str, bool]]]:
    """Every pin of a platform's resources, by ``name`` or ``name.part``, and whether it is active low."""
    found: dict[str, list[tuple[str, bool]]] = {}
    for resource in platform.resources:
        for io in resource.ios:
            part = f".{io.name}" if isinstance(io, Subsignal) else ""
            for pins in io.ios if part else [io]:
                if isinstance(pins, Pins):
                    found.setdefault(resource.name + part, []).extend((pin, pins.invert) for pin in pins.names)
    return found


@pytest.mark.parametrize("name", PLATFORMS)
def test_a_board_has_the_pins_that_amaranth_has(name: str) -> None:
    platform, target = PLATFORMS[name], find_target(name)
    board, theirs = target.board, pins_of(platform)
    assert board is not None
    device = getattr(platform, "device", None) or platform.family  # Gowin's has a part and a family
    names = {"iCE40UP5K": "ice40up5k", "xc7a35ti": "xc7a35t", "xc7a100ti": "xc7a100t"}  # i: of the same die
    assert target.device.name == names.get(device, device.lower())
    packages = {"BG381": "CABGA381", "BG554": "CABGA554", "MG285": "CSFBGA285", "SG48": "sg48"}
    if target.device.package:
        assert target.device.package == packages[platform.package]
    if target.device.speed:
        assert target.device.speed == platform.speed
    clock = next(r for r in platform.resources if r.name == platform.default_clk)
    assert theirs[clock.name] == [(board.clock.pin, False)]
    assert clock.clock.frequency == board.clock.mhz * 1e6
    if "uart.rx" in theirs:
        assert [theirs["uart.rx"], theirs["uart.tx"]] == [[(board.uart.rx, False)], [(board.uart.tx, False)]]
    else:  # the OrangeCrab has none: the pins where a Feather has its own
        assert [platform.connectors[0].mapping[pin] for pin in "01"] == [board.uart.rx, board.uart.tx]
    lights = {pin for key, pins in theirs.items() if key.startswith(("led", "rgb_led")) for pin in pins}
    assert {(pin, board.leds_active == "low") for pin in board.leds} <= lights
    if board.reset is not None:
        pushed = {pin for key, pins in theirs.items() if key.startswith(("button", "rst")) for pin in pins}
        assert (board.reset.pin, board.reset.active == "low") in pushed
    if board.high:
        assert theirs["esp32.gpio0"] == [(board.high["wifi_gpio0"], False)]


def test_a_design_that_does_not_fit_says_by_how_much() -> None:
    small = find_device("lfe5u-12f")
    small.check_fit(Resources(12144, 12144, 32, 28))
    with pytest.raises(
        BitfabricError, match=r"does not fit lfe5u-12f: LUT 12145 of 12144 \(1 too many\), DSP 30 of 28"
    ):
        small.check_fit(Resources(12145, 100, 32, 30))


@pytest.mark.parametrize(("name", "hint"), [("ulx3s_85f", "ulx3s-85f"), ("xc7z02", "xc7z020"), ("toaster", "known: ")])
def test_an_unknown_target_is_wrong_usage_and_names_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(BitfabricError, match=hint) as caught:
        find_target(name)
    assert caught.value.status == 2


GOOD = "name: mine\ndevice: lfe5u-25f\nclock: {pin: A1, mhz: 48}\nuart: {rx: B1, tx: B2, max_baud: 115200}\n"


def test_a_board_of_the_users_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD + "speed: '8'\n")
    target = find_target(str(path))
    assert (target.name, target.device.speed, target.device.package) == ("mine", "8", "CABGA381")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (GOOD.replace("mhz: 48", "mhz: -1"), "clock.mhz"),
        (GOOD.replace("lfe5u-25f", "lfe5u-26f"), "no device 'lfe5u-26f'"),
        (GOOD.replace("mhz: 48", "mhz: 7.3728"), "clock.mhz: 7.3728 is not from 8 to 400, which the PLL"),
        (GOOD.replace("115200", "9600"), "uart.max_baud: .* 115200"),
        (GOOD.replace("device:", "devise:"), "devise: no field of that name"),
        (GOOD.replace("clock:", "high:"), "clock: it is missing"),
        (GOOD + "devices: {a: lfe5u-25f}\n", "either 'device' or 'devices'"),
        (GOOD.replace("lfe5u-25f", "gw1nr-9c") + "package: QN88\n", "no 'package' to choose"),
        (GOOD.replace("lfe5u-25f", "xc7z020"), "give 'package' and 'speed' of the xc7z020"),
        ("name: [", "not YAML"),
        (GOOD + "name: yours\n", "line 5: the key name is given twice"),
        ("", "board file .* has no fields"),
    ],
)
def test_a_wrong_board_file_is_refused_in_one_line(text: str, fault: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(BitfabricError, match=fault) as caught:
        find_target(str(path))
    assert caught.value.status == 2
    assert "\n" not in str(caught.value)


FULL = """
name: mine
devices: {a: lfe5u-25f}
package: CABGA381
speed: "8"
io: LVCMOS33
programmer: ulx3s
clock: {pin: A1, mhz: 48}
uart: {rx: B1, tx: B2, max_baud: 115200, usb: "0403:6015"}
reset: {pin: C1, io: LVCMOS18}
leds: [D1, D2]
high: {wifi: E1}
"""
TEXTS = (
    "name",
    "devices.a",
    "package",
    "speed",
    "io",
    "programmer",
    "clock.pin",
    "uart.rx",
    "uart.tx",
    "uart.usb",
    "reset.pin",
    "reset.io",
    "leds.0",
    "high.wifi",
)
"""The fields that reach generated text, or a tool's arguments."""


def with_value(field: str, value: object) -> dict[str, object]:
    """The board FULL with another value of one field."""
    data = yaml.safe_load(FULL)
    *path, last = field.split(".")
    for each in path:
        data = data[each]
    data[int(last) if last.isdigit() else last] = value
    return data if not path else {**yaml.safe_load(FULL), path[0]: data}


@pytest.mark.parametrize("field", TEXTS)
def test_no_field_takes_hostile_text(field: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    for value in (*HOSTILE, 35, 1.5, True, None, ["A1"], {"a": "b"}, "B2;", "B2 ", "B\n2", '"', "É1"):
        if isinstance(value, str) and re.fullmatch(r"[\w.-]+", value, re.ASCII) and len(value) < 100:
            continue
        if value is None and field in ("package", "speed", "programmer", "uart.usb", "reset.io"):
            continue
        path.write_text(yaml.safe_dump(with_value(field, value)))
        with pytest.raises(UsageError) as caught:
            find_target(str(path))
        line = str(caught.value)
        assert line.startswith(f"board file {path}: {field}: ")
        assert "allowed: " in line
        assert line.isprintable()
        assert len(line) < 400


def test_names_of_driven_pins_are_free_identifiers(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    for name in (*HOSTILE, "clk", "led", "reset", "uart_rx", "Module", "wire", "n" * 33):
        path.write_text(yaml.safe_dump(with_value("high", {name: "E1"})))
        if name in ("a_b", "A_B"):
            assert find_target(str(path)).board.high == {name: "E1"}
            continue
        with pytest.raises(UsageError, match=r"high\..*: .*(allowed: |is reserved)") as caught:
            find_target(str(path))
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["ulx3s-12f", "icebreaker", "tangnano9k"])
def test_every_name_of_an_image_is_reserved(name: str) -> None:
    stream = Stream((4,), DataType["INT4"], 1)
    made = image(generate(alone(Fifo(stream, 4)), ECP5), find_target(name), 30, 1)
    text = re.sub(r'//.*|\(\*.*?\*\)|\.\w+|"[^"]*"', "", made.design.files["image.sv"])
    used = {word.lower() for word in re.findall(r"\b[A-Za-z_]\w*", re.sub(r"\d*'[bhd]\w+", "", text))}
    modules = {name.removesuffix(".sv") for name in made.design.files}
    cells = {word for word in used if re.match(r"ehxpll|sb_|rpll|bf_|default_nettype|none$", word)}
    assert used - RESERVED - KEYWORDS - modules - cells - {"wifi_gpio0"} == set()


NO_YAML = {
    "name: [": "is not YAML: line 1: ",
    "a: b: c": "is not YAML: line 1: mapping values are not allowed here",
    "a: \x07": "is not YAML: ",
    "a: !!python/object:os.system x": "is not YAML: line 1: could not determine a constructor",
    "a: 2001-99-99": "is not YAML: month must be in 1..12",
    "[" * 1000: "is not YAML: nested too deeply",
    "#" * 70_000: "has more than 65,536 bytes",
    "a: &a {a: 1}\n"
    + "".join(
        f"{new}: &{new} {{<<: [{', '.join(['*' + old] * 9)}]}}\n" for old, new in pairwise("abcdefgh")
    ): r"is not YAML: line \d: more than 100,000 values, with its aliases",
    "a: &a [*a]": "is not YAML: line 1: an alias leads back to itself",
    "a: &x [1, 2]\nb: [*x, *x]\n" * 2: "is not YAML: line 3: second occurrence",
    "name: [[a]]\nclock: 1\n": "name: a list is not a text; allowed: 1 to 64 letters",
}


@pytest.mark.parametrize("text", NO_YAML, ids=range(len(NO_YAML)))
def test_what_is_no_board_file_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=NO_YAML[text]) as caught:
        find_target(str(path))
    assert str(caught.value).isprintable()


def test_a_damaged_board_file_is_valid_or_refused_in_one_line(tmp_path: Path) -> None:
    path, rng = tmp_path / "mine.yaml", random.Random(1)
    refused = []
    for _ in range(300):
        text = list(FULL)
        for _ in range(rng.randint(1, 6)):
            place = rng.randrange(len(text))
            text[place : place + rng.randint(0, 8)] = rng.choices(
                "{}[]:,&*!|>'\"%@`#?-\n\t \0\x1b\u202e09aé=<.~", k=rng.randint(0, 2)
            )
        path.write_text("".join(text), encoding="utf-8")
        try:
            find_target(str(path))
        except UsageError as error:
            refused.append(str(error))
    assert len(refused) > 200
    assert all(line.isprintable() for line in refused)


def test_a_board_file_is_a_file_of_text(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"name: \xff\xfe")
    with pytest.raises(UsageError, match=r"is not UTF-8 .*invalid start byte at byte 6"):
        find_target(str(path))
    os.mkfifo(tmp_path / "pipe.yaml")
    for other in (tmp_path / "pipe.yaml", Path("/dev/zero.yaml")):
        with pytest.raises(UsageError, match=r"is a named pipe; name a file|no board file"):
            find_target(str(other))


def test_the_board_file_of_the_documentation(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "boards.md").read_text()
    path = tmp_path / "mine.yaml"
    path.write_text(text.partition("```yaml\n")[2].partition("```")[0])
    board = find_target(str(path)).board
    assert set(Board.model_fields) - board.model_fields_set == {"devices", "spi", "fifo", "ethernet", "link"}
    assert board.uart.usb == "0403:6015"


def test_a_pin_has_one_use(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(FULL.replace("D1", "B2"))
    with pytest.raises(UsageError, match="pin B2 is given 2 times"):
        find_target(str(path))


def test_a_missing_board_file(tmp_path: Path) -> None:
    with pytest.raises(BitfabricError, match="no board file"):
        find_target(str(tmp_path / "no.yaml"))
