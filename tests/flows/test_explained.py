"""Differences that float32 rounding explains are named wherever a build is described, and never called impossible."""

import json
import re

import numpy as np
import onnx
import pytest

from flows import build
from flows.cli import render
from flows.report import summary
from hw.host.errors import BitfabricError
from tests.verification.test_comparison import tie_frames
from tests.verification.test_exact_reference import dense
from tests.verification.test_reference import two_layers

SAID = "1 of 400 frames: 1 element within float32 rounding of its threshold; class unchanged"
PROMISE = "a difference would have ended the build"


@pytest.fixture
def built(tmp_path):
    """Builds two layers of scale 0.1, up to ``emulate``, on frames of which some lie on ties."""
    onnx.save(two_layers(0.1), tmp_path / "model.onnx")

    def made(ties):
        np.save(tmp_path / "x.npy", tie_frames(ties))
        return build(
            tmp_path / "model.onnx", "ulx3s-12f", tmp_path / "out", frames=tmp_path / "x.npy", stop_after="emulate"
        )

    return made


def test_an_explained_difference_is_named_everywhere(built, capsys):
    accelerator = built(1)
    found = json.loads((accelerator.folder / "build.json").read_text())["verified"]["emulator"]
    assert found.pop("directed")["explained"] > 0
    assert found | {"accuracy": None} == {
        "frames": 400,
        "elements": 400 * (12 + 5 + 5),
        "mismatches": 1,
        "explained": 1,
        "arg_max_changes": 0,
        "mismatched_frames": 1,
        "rounded": found["rounded"],
        "decided": 0,
        "inexact": 0,
        "explanation": SAID,
        "remark": None,
        "accuracy": None,
    }
    render.built(accelerator)
    assert f"emulator: {SAID}" in capsys.readouterr().out
    page = accelerator.write_report().read_text()
    assert SAID in page
    assert PROMISE not in page
    assert re.search(r'<li class="off"><b>emulator', page)
    assert SAID in summary(accelerator.report, accelerator.hardware)


def test_without_a_difference_nothing_is_explained(tmp_path, capsys):
    onnx.save(two_layers(), tmp_path / "model.onnx")
    accelerator = build(tmp_path / "model.onnx", "ulx3s-12f", tmp_path / "out", stop_after="emulate")
    check = accelerator.report.verified["emulator"]
    assert (check.explanation, check.directed.explained) == (None, 0)
    render.built(accelerator)
    assert "rounding" not in capsys.readouterr().out
    page = accelerator.write_report().read_text()
    assert PROMISE in page
    assert 'class="off"' not in page


def test_what_exact_sums_decided_is_remarked(tmp_path, capsys):
    onnx.save(dense(), tmp_path / "model.onnx")
    accelerator = build(tmp_path / "model.onnx", "ulx3s-12f", tmp_path / "out", stop_after="emulate")
    check = accelerator.report.verified["emulator"]
    assert (check.mismatches, check.decided, check.inexact > 0) == (0, 256 * (10 + 3), True)
    render.built(accelerator)
    assert f"emulator: {check.remark}" in capsys.readouterr().out
    assert "exact sums decide 3,328 elements" in check.remark
    assert check.remark in accelerator.write_report().read_text()


def test_too_many_explained_differences_end_the_build(built):
    with pytest.raises(BitfabricError, match="differs from the QONNX reference in 45 of 8,800 elements, more than"):
        built(45)
