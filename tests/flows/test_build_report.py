"""``build.json``: its published schema, and which build folders are refused."""

import json
import re
from pathlib import Path

import pytest

from flows.accelerator import Accelerator
from flows.build_report import SCHEMA, BuildReport, json_schema
from hw.host.errors import UsageError

CONTENT = {
    "schema": 2,
    "model": {"path": "m.onnx", "sha256": "0" * 64},
    "target": "ulx3s-85f",
    "device": "lfe5u-85f",
    "clock_mhz": 100.0,
    "stopped_after": "fold",
    "folding": {"fc0": {"PE": 2, "SIMD": 4}},
    "fifos": {"fc0": 2},
    "parity": False,
    "cycles": {"interval": {"estimated": 8, "simulated": None}, "latency": {"estimated": 20, "simulated": None}},
    "fps": 12.5e6,
    "fps_at_fmax": None,
    "latency_us": 0.2,
    "resources": {name: {"used": None, "available": 100, "estimated": 10} for name in ("lut", "ff", "bram", "dsp")},
    "layers": [
        {
            "name": "fc0",
            "operator": "matrix_vector",
            "PE": 2,
            "SIMD": 4,
            "cycles": 8,
            "parity": False,
            "estimated": {"lut": 10, "ff": 10, "bram": 0, "dsp": 0},
        }
    ],
    "fmax_mhz": {"estimated": 120.5, "placed": None},
    "critical_path": None,
    "verified": {
        "qonnx": {
            "frames": 256,
            "elements": 2560,
            "mismatches": 0,
            "explained": 0,
            "arg_max_changes": 0,
            "accuracy": None,
        }
    },
    "bitstream": None,
    "link": None,
    "finn": None,
    "products": {"report": "build.json"},
    "tools": {"yosys": "0.1"},
    "steps": [{"name": "lower", "seconds": 0.1, "cached": False}],
}


def write(folder, content):
    (folder / "build.json").write_text(json.dumps(content))
    return folder


def test_the_published_schema_is_that_of_the_report():
    published = json.loads((Path(__file__).parents[2] / "docs" / "build.schema.json").read_text())
    assert published == json_schema(), "python -m flows.build_report > docs/build.schema.json"


def test_a_report_is_read_as_it_was_written(tmp_path):
    report = BuildReport.read(write(tmp_path, CONTENT))
    assert report.to_json() == CONTENT
    assert list(report.to_json()) == list(CONTENT)
    assert report.resources.lut.estimated == 10
    # A key that a later version adds under the same number does not matter here.
    assert BuildReport.read(write(tmp_path, CONTENT | {"later": 1})) == report


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": None}, "is of an older bitfabric .*; build again"),
        ({"schema": SCHEMA + 1}, f"has schema {SCHEMA + 1}, of a newer bitfabric; .*: update it, or build again"),
        ({"fps": "fast"}, r"is damaged \(fps: .*\); build again"),
        ({"cycles": {}}, r"is damaged \(cycles\.interval: .*\); build again"),
    ],
)
def test_reports_of_other_versions_are_refused_in_one_line(tmp_path, change, message):
    content = {key: value for key, value in (CONTENT | change).items() if (key, value) != ("schema", None)}
    with pytest.raises(UsageError, match=message) as caught:
        Accelerator(write(tmp_path, content))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(("text", "message"), [("{", "cannot be read"), ("[]", "is of an older bitfabric")])
def test_what_is_no_report_is_refused(tmp_path, text, message):
    (tmp_path / "build.json").write_text(text)
    with pytest.raises(UsageError, match=message):
        Accelerator(tmp_path)


def test_a_report_without_evidence_is_refused(tmp_path):
    with pytest.raises(UsageError, match=re.escape("is not as its build left it: build.json was changed")):
        Accelerator(write(tmp_path, CONTENT))
