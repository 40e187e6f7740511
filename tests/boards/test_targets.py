"""Devices, boards and targets: the data are right, and a wrong name or file is refused in one line."""

from pathlib import Path

import pytest
from amaranth.build import Pins, Subsignal
from amaranth_boards.ecpix5 import ECPIX545Platform, ECPIX585Platform
from amaranth_boards.icebreaker import ICEBreakerPlatform
from amaranth_boards.orangecrab_r0_2 import OrangeCrabR0_2_25FPlatform, OrangeCrabR0_2_85FPlatform
from amaranth_boards.tang_nano_9k import TangNano9kPlatform
from amaranth_boards.ulx3s import ULX3S_12F_Platform, ULX3S_25F_Platform, ULX3S_45F_Platform, ULX3S_85F_Platform

from hw.boards.targets import find_target, targets
from hw.fabric.resources import Resources
from hw.families import devices, find_device
from hw.host.errors import BitfabricError


def test_every_board_has_a_device_and_every_target_its_resources() -> None:
    names = [target.name for target in targets()]
    boards = {target.name for target in targets() if target.board is not None}
    assert boards == {
        *("ulx3s-12f", "ulx3s-25f", "ulx3s-45f", "ulx3s-85f", "ecpix5-45f", "ecpix5-85f"),
        *("orangecrab-25f", "orangecrab-85f", "icebreaker", "tangnano9k"),
    }
    assert len(set(names)) == len(names)
    assert set(devices()) <= set(names)
    for target in targets():
        capacity = target.device.capacity
        assert min(capacity.lut, capacity.ff, capacity.bram, capacity.dsp) > 0
        assert target.device.routable == (target.device.family.name != "xc7")
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
    assert target.device.name == {"iCE40UP5K": "ice40up5k"}.get(device, device.lower())
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
        (GOOD.replace("device:", "devise:"), "devise"),
        (GOOD + "devices: {a: lfe5u-25f}\n", "either 'device' or 'devices'"),
        (GOOD.replace("lfe5u-25f", "gw1nr-9c") + "package: QN88\n", "no 'package' to choose"),
        (GOOD.replace("lfe5u-25f", "xc7z020"), "for synthesis only"),
        ("name: [", "not YAML"),
        ("", "board file"),
    ],
)
def test_a_wrong_board_file_is_refused_in_one_line(text: str, fault: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(BitfabricError, match=fault) as caught:
        find_target(str(path))
    assert caught.value.status == 2
    assert "\n" not in str(caught.value)


def test_a_missing_board_file(tmp_path: Path) -> None:
    with pytest.raises(BitfabricError, match="No such file"):
        find_target(str(tmp_path / "no.yaml"))
