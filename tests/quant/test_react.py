"""The layers of ReActNet: signs with learned thresholds and PReLUs with learned shifts, down to hardware."""

import numpy as np
import pytest
import torch

from hw.lowering.lower import lower
from hw.verification.reference import compare
from quant import TrainConfig, create_model, export, fit, layers, load_data, schemes
from quant.distillation import Distillation
from quant.errors import QuantError
from quant.training.start import start_from
from tests.quant.warmed import warm

DIGITS = {"input_shape": (1, 8, 8), "in_range": (0, 16), "width": 1 / 8, "activation": "react"}
BINARY = schemes.get("binarynet")


def randomize(model, lowest):
    """Shifts up to 1 and slopes from ``lowest`` to 1, of every channel its own."""
    for module in model.modules():
        if isinstance(module, layers.RSign | layers.RPReLU):
            for name, value in module.named_parameters():
                value.data.uniform_(lowest if "prelu" in name else -1.0, 1.0)


@pytest.mark.parametrize("lowest", [0.05, -0.5])
def test_shifts_and_slopes_are_thresholds(lowest, tmp_path):
    """The integers are the reference's, with slopes below zero too, where the function turns; and no kernel is left of
    shifts and slopes: every sum is read by thresholds or tables."""
    torch.manual_seed(1)
    x = torch.randint(0, 17, (32, 1, 8, 8)).float()
    model = create_model("resnet8-w1a1", **DIGITS)
    randomize(model, lowest)
    warm(model, x)
    export(model, tmp_path / "model.onnx", x.numpy())
    graph = lower(tmp_path / "model.onnx")
    compared = compare(graph, tmp_path / "model.onnx", x.numpy())
    assert compared.mismatches == compared.explained
    counted = [node.kernel.op for node in graph]
    assert counted.count("add") == 6
    assert set(counted) <= {
        "sliding_window", "matrix_vector", "threshold", "table", "fork", "add", "accumulate_pool",
    }  # fmt: skip
    quantizers = [node.kernel for node in graph if node.kernel.op in ("threshold", "table")]
    signs = [kernel for kernel in quantizers if kernel.outputs()[0].dtype.name == "BIPOLAR"]
    assert len(signs) == 6
    if lowest > 0:
        assert all((kernel.thresholds[0] != kernel.thresholds[1]).any() for kernel in signs)


def test_definition():
    """Equations 3 to 5 of the paper, for images and vectors."""
    torch.manual_seed(2)
    for sides in ((), (2, 3)):
        x = torch.randn(4, 5, *sides)
        sign, act = layers.RSign(BINARY, 5, len(sides)), layers.RPReLU(5, len(sides))
        randomize(torch.nn.ModuleList([sign, act]), -0.5)
        with torch.no_grad():
            np.testing.assert_array_equal(sign(x), torch.where(x >= sign.shift, 1.0, -1.0))
            above = x - act.before
            slope = act.prelu.weight.reshape(5, *[1] * len(sides))
            np.testing.assert_array_equal(act(x), torch.where(above > 0, above, slope * above) + act.after)


def test_two_steps(tmp_path):
    """A network with real values, whose only nonlinearity is the PReLU, then the 1-bit one from its weights, with the
    first one's logits as targets. Shifts and slopes are learned in both."""
    data = load_data("digits")
    torch.manual_seed(0)
    real = create_model("resnet8-float", **DIGITS)
    fit(real, data, TrainConfig(epochs=3))
    assert any(bool(m.shift.detach().any()) for m in real.modules() if isinstance(m, layers.RSign))
    model = create_model("resnet8-w1a1", **DIGITS)
    start_from(model, real)
    for one, other in zip(model.blocks, real.blocks, strict=True):
        np.testing.assert_array_equal(one.sign.shift.detach(), other.sign.shift.detach())
        np.testing.assert_array_equal(one.act.prelu.weight.detach(), other.act.prelu.weight.detach())
    result = fit(model, data, TrainConfig(epochs=6, distill=Distillation(("soft",))), teacher=real)
    assert result.test_accuracy > 0.35
    frames = data.x_test[:64].astype(np.float32)
    export(model, tmp_path / "model.onnx", frames)
    compared = compare(lower(tmp_path / "model.onnx"), tmp_path / "model.onnx", frames)
    assert compared.mismatches == compared.explained


def test_what_has_no_sign_is_refused():
    with pytest.raises(QuantError, match=r"activations behind a ReLU, and RSign is a sign: .* as in -w1a1"):
        create_model("resnet8-w2a2", **DIGITS)
    with pytest.raises(QuantError, match=r"no activation 'relu6': choose react"):
        create_model("resnet8-w1a1", **{**DIGITS, "activation": "relu6"})
    with pytest.raises(QuantError, match="leave survival out"):
        create_model("resnet20-w1a1", **DIGITS, survival=0.5)
