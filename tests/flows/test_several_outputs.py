"""Several outputs, as of detection heads, and an autoencoder: from the export to simulated RTL and the report."""

import json

import brevitas.nn as qnn
import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from flows import build
from flows.cli.main import app
from hw.boards.virtual import VirtualBoard
from hw.host.driver import Driver
from hw.host.interface import Interface
from quant import export

SHAPE = (2, 4, 4)


class Detector(nn.Module):
    """Two heads of raw maps, of boxes and of classes, at two resolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.first = qnn.QuantIdentity(bit_width=4)
        self.stem = qnn.QuantConv2d(2, 3, 3, padding=1, weight_bit_width=3)
        self.act = qnn.QuantReLU(bit_width=3)
        self.boxes = qnn.QuantConv2d(3, 4, 1, weight_bit_width=3)
        self.classes = qnn.QuantConv2d(3, 2, 2, stride=2, weight_bit_width=3)

    def forward(self, x):
        x = self.act(self.stem(self.first(x)))
        return {"boxes": self.boxes(x), "classes": self.classes(x)}


def autoencoder() -> nn.Module:
    """Half the resolution, and back by a transposed convolution; the output is an image."""
    return nn.Sequential(
        qnn.QuantIdentity(bit_width=4),
        qnn.QuantConv2d(2, 3, 2, stride=2, weight_bit_width=3),
        qnn.QuantReLU(bit_width=3),
        qnn.QuantConvTranspose2d(3, 2, 2, stride=2, weight_bit_width=3, bias=False),
    )


def exported(model: nn.Module, folder) -> tuple[nn.Module, np.ndarray]:
    torch.manual_seed(0)
    with torch.no_grad():
        for _ in range(3):
            model.train()(torch.randn(16, *SHAPE))
    x = np.random.default_rng(0).normal(size=(40, *SHAPE)).astype(np.float32)
    export(model.eval(), folder / "model.onnx", x)
    np.save(folder / "x.npy", x)
    return model, x


def command(*arguments) -> dict:
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout) if "--json" in arguments else {"text": result.output}


def test_detection_heads(tmp_path):
    model, x = exported(Detector(), tmp_path)
    accelerator = build(tmp_path / "model.onnx", "lfe5u-25f", tmp_path / "build", stop_after="simulate", rtl_frames=4)
    found, simulated = (accelerator.run(x[:4], engine) for engine in ("emulator", "rtl"))
    expected = model(torch.from_numpy(x[:4]))
    for name, right in zip(("global_out", "global_out_1"), expected.values(), strict=True):
        np.testing.assert_allclose(found[name], right.detach().numpy(), atol=1e-5)
        np.testing.assert_array_equal(found[name], simulated[name])
    report = json.loads((tmp_path / "build" / "build.json").read_text())
    assert [report["verified"][engine]["mismatches"] for engine in ("emulator", "rtl")] == [0, 0]
    page = accelerator.write_report().read_text()
    assert "global_out_1" in page
    arguments = ("run", tmp_path / "build", "--input", tmp_path / "x.npy", "-o", tmp_path / "y.npz")
    assert command(*arguments, "--json")["frames"] == 40
    with np.load(tmp_path / "y.npz") as outputs:
        assert {name: outputs[name].shape for name in outputs} == {
            "global_out": (40, 4, 4, 4), "global_out_1": (40, 2, 2, 2)
        }  # fmt: skip


def test_an_autoencoder(tmp_path):
    model, x = exported(autoencoder(), tmp_path)
    accelerator = build(tmp_path / "model.onnx", "lfe5u-25f", tmp_path / "build", stop_after="emulate")
    np.testing.assert_allclose(accelerator.run(x), model(torch.from_numpy(x)).detach().numpy(), atol=1e-5)
    given = ("run", tmp_path / "build", "--input", tmp_path / "x.npy")
    assert np.shape(command(*given, "--json")["outputs"]["global_out"]) == (40, *SHAPE)
    assert "classes" not in command(*given)["text"]  # of images


def test_detection_heads_behind_the_link_of_a_board(tmp_path):
    """A result on the link has a frame of each head; the driver's interface says what belongs to which."""
    _, x = exported(Detector(), tmp_path)
    made = build(tmp_path / "model.onnx", "ulx3s-85f", tmp_path / "build", stop_after="rtl")
    interface = Interface.from_json(json.loads(json.dumps(made.implementation.interface().to_json())))
    assert [form.shape for form in interface.output_formats] == [(4, 4, 4), (2, 2, 2)]
    with VirtualBoard(made.image) as board:
        driver = Driver(board, interface.input_formats, interface.output_formats, interface.model, timeout=0.001)
        found = interface.decode(driver.run(*interface.encode(x[:6])))
        assert driver.status().frames == 6
    for name, right in made.run(x[:6]).items():
        np.testing.assert_array_equal(found[name], right)
    assert made.report.host_link.output_octets > 0
    text = command("run", tmp_path / "build", "--input", tmp_path / "x.npy", "-o", tmp_path / "y.npz")["text"]
    assert "global_out (40, 4, 4, 4) global_out_1 (40, 2, 2, 2)" in text
    assert "classes" not in text


@pytest.mark.slow
def test_detection_heads_placed_for_a_board(tmp_path):
    exported(Detector(), tmp_path)
    made = build(tmp_path / "model.onnx", "ulx3s-12f", tmp_path / "build", netlist_frames=3, rtl_frames=3)
    checked = made.report.verified["netlist"]
    assert (checked.stage, checked.frames, checked.mismatches, checked.elements) == ("placed", 3, 0, 3 * (64 + 8))
