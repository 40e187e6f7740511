"""Frames whose values the input does not have: counted, said, and refused above one in a hundred."""

import json
from unittest.mock import patch

import numpy as np
import onnx
import pytest

from flows import Accelerator, assert_engines_agree, build
from flows.cli import main as cli
from flows.inputs import InputWarning
from flows.soft_errors import sweep
from hw.host.errors import UsageError
from tests.builders.qonnx_builder import Builder


@pytest.fixture(scope="module")
def declared(tmp_path_factory):
    """A network whose input is of type UINT4, frames for it, and its build; two of the frames' 240 values are wrong."""
    folder = tmp_path_factory.mktemp("declared")
    rng = np.random.default_rng(5)
    b = Builder((1, 12))
    b.annotate("x", "UINT4")
    x = b.node("MatMul", "x", b.quant(rng.normal(size=(12, 6)), 0.5, 3, narrow=1))
    x = b.node("MatMul", b.quant(x, 2.0, 3), b.quant(rng.normal(size=(6, 3)), 0.5, 3, narrow=1))
    onnx.save(b.model((x, (1, 3))), folder / "model.onnx")
    frames = rng.integers(0, 16, (20, 12)).astype(np.float32)
    frames[3, :2] = 15.5, 3.25
    np.save(folder / "x.npy", frames)
    np.save(folder / "small.npy", frames / 16)
    build(
        folder / "model.onnx", "ulx3s-12f", folder / "out", fps=500_000, frames=folder / "x.npy", stop_after="emulate"
    )
    return folder


def said(capsys, *words):
    """What the command line prints, with its status."""
    with patch("sys.argv", ["bitfabric", *map(str, words)]), pytest.raises(SystemExit) as left:
        cli.main()
    captured = capsys.readouterr()
    return left.value.code or 0, captured.out, captured.err


STATEMENT = "input x: 2 of 240 values (0.83%) are no UINT4 integers: 1 rounded, 1 clipped; the values lie between 0 and"


def test_values_of_a_declared_input_are_counted_in_the_build_and_its_report(declared):
    made = Accelerator(declared / "out")
    inputs = made.report.inputs
    assert (inputs.type, inputs.declared, inputs.fractions, inputs.out_of_range) == ("UINT4", True, 1, 1)
    assert inputs.doubtful
    assert inputs.statement.startswith(STATEMENT)
    assert made.report.verified["emulator"].mismatches == 0
    page = made.write_report(declared / "page.html").read_text()
    assert page.count(STATEMENT) == 2
    assert STATEMENT in made._repr_html_()


def test_every_engine_receives_the_same_integers(declared):
    x = np.load(declared / "x.npy")
    made = Accelerator(declared / "out")
    with pytest.warns(InputWarning, match=r"2 of 240 values"):
        outputs = [made.run(x, engine) for engine in ("qonnx", "emulator")]
    np.testing.assert_array_equal(*outputs)
    np.testing.assert_array_equal(outputs[0], made.run(np.clip(np.round(x), 0, 15), "qonnx"))
    with pytest.warns(InputWarning):
        assert_engines_agree(declared / "model.onnx", x, ["qonnx"])


def test_frames_that_are_normalised_twice_are_refused_everywhere(declared, tmp_path, capsys):
    x = np.load(declared / "small.npy")
    made, message = Accelerator(declared / "out"), r"normalised twice\?\); give integers, or --clip"
    with pytest.raises(UsageError, match=message):
        made.run(x)
    with pytest.raises(UsageError, match=message):
        sweep(made, x, None, [1])
    with pytest.raises(UsageError, match=message):
        assert_engines_agree(declared / "model.onnx", x, ["qonnx"])
    with pytest.raises(UsageError, match=message):
        build(declared / "model.onnx", "ulx3s-12f", tmp_path, frames=declared / "small.npy", stop_after="fold")
    asked = ("-t", "ulx3s-12f", "-o", tmp_path / "o", "--input", declared / "small.npy", "--stop-after", "emulate")
    status, _, error = said(capsys, "build", declared / "model.onnx", *asked)
    assert status == 2
    assert error.splitlines()[-1].startswith("error: input x takes UINT4 integers; ")


def test_with_clip_they_are_rounded_and_the_commands_say_so(declared, capsys):
    small = declared / "small.npy"
    x, made = np.load(small), Accelerator(declared / "out")
    for command in (("run",), ("soft-errors", "--flips", "1", "--trials", "1")):
        status, out, _ = said(capsys, command[0], declared / "out", "-i", small, "--clip", *command[1:])
        assert status == 0
        assert "rounded, 0 clipped" in out
    found = json.loads(said(capsys, "run", declared / "out", "-i", small, "--clip", "--json")[1])["inputs"]
    assert found["fractions"] == np.count_nonzero(x != np.round(x))
    with pytest.warns(InputWarning):
        np.testing.assert_array_equal(made.run(x, clip=True), made.run(np.round(x)))
    with pytest.warns(InputWarning):
        assert_engines_agree(declared / "model.onnx", x, ["qonnx"], clip=True)


def test_what_the_models_own_quantizer_makes_of_the_frames_is_said(small, tmp_path, capsys):
    made = build(small / "model.onnx", "ulx3s-12f", tmp_path, frames=small / "x.npy", stop_after="emulate")
    inputs = made.report.inputs
    assert (inputs.declared, inputs.out_of_range, inputs.codes, inputs.doubtful) == (False, 0, 16, False)
    assert build(small / "model.onnx", "ulx3s-12f", tmp_path, stop_after="fold").report.inputs is None
    np.save(tmp_path / "small.npy", np.load(small / "x.npy") / 16)
    _, out, _ = said(capsys, "run", tmp_path, "-i", tmp_path / "small.npy")
    assert "2 of its 16 codes occur; the values lie between 0 and 0.9375, the input covers 0 to 15 (normalised" in out
