"""Devices, boards and targets: the data are right, and a wrong name or file is refused in one line."""

from pathlib import Path

import pytest
from amaranth.build import Subsignal
from amaranth_boards.ulx3s import ULX3S_12F_Platform, ULX3S_85F_Platform

from hw.boards.targets import find_target, targets
from hw.errors import BitfabricError
from hw.kernels.kernel import Resources
from hw.synth.devices import DEVICES, device


def test_every_board_has_a_device_and_every_target_its_resources() -> None:
    names = [target.name for target in targets()]
    assert names[:4] == ["ulx3s-12f", "ulx3s-25f", "ulx3s-45f", "ulx3s-85f"]
    assert len(set(names)) == len(names)
    assert set(DEVICES) <= set(names)
    for target in targets():
        capacity = target.device.capacity
        assert min(capacity.lut, capacity.ff, capacity.bram, capacity.dsp) > 0
        assert target.device.routable == (target.device.family.name == "ecp5")
        assert (target.board is not None) == target.name.startswith("ulx3s")
    assert device("lfe5u-85f").capacity == Resources(83640, 83640, 208, 156)
    assert find_target("ULX3S-85F").device.name == "lfe5u-85f"


@pytest.mark.parametrize("platform", [ULX3S_12F_Platform, ULX3S_85F_Platform])
def test_the_ulx3s_has_the_pins_that_amaranth_has(platform: type) -> None:
    board = find_target("ulx3s-" + platform.device.removeprefix("LFE5U-").lower()).board
    assert board is not None
    theirs: dict[str, list[str]] = {}
    for resource in platform.resources:
        if resource.name in ("clk25", "led", "uart", "button_fire", "esp32"):
            for io in resource.ios:
                part = f".{io.name}" if isinstance(io, Subsignal) else ""
                theirs.setdefault(resource.name + part, []).extend((io.ios[0] if part else io).names)
    assert theirs["clk25"] == [board.clock.pin]
    assert theirs["led"] == list(board.leds)
    assert (theirs["uart.rx"], theirs["uart.tx"]) == ([board.uart.rx], [board.uart.tx])
    assert board.reset is not None
    assert board.reset.pin in theirs["button_fire"]
    assert theirs["esp32.gpio0"] == [board.high["wifi_gpio0"]]


def test_a_design_that_does_not_fit_says_by_how_much() -> None:
    small = device("lfe5u-12f")
    small.check_fit(Resources(12144, 12144, 32, 28))
    with pytest.raises(
        BitfabricError, match=r"does not fit lfe5u-12f: LUT 12145 of 12144 \(1 too many\), DSP 30 of 28"
    ):
        small.check_fit(Resources(12145, 100, 32, 30))


@pytest.mark.parametrize(
    ("name", "hint"), [("ulx3s_85f", "ulx3s-85f"), ("xc7z02", "xc7z020"), ("toaster", "known: ulx3s")]
)
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
