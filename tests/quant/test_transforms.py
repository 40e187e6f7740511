"""Adaptive Fastfood and ACDC: the formulas, the training, and the refusal of the export."""

import numpy as np
import pytest
import torch

from quant import TrainConfig, export, fit, layers, schemes
from quant.errors import QuantError
from quant.models.network import Network
from quant.transforms import ACDC, AdaptiveFastfood, cosine_transform, walsh_hadamard
from tests.quant.small_training import small


def hadamard(size: int) -> np.ndarray:
    made = np.ones((1, 1))
    while len(made) < size:
        made = np.block([[made, made], [made, -made]])
    return made


def test_the_transforms():
    for size in (1, 2, 8, 32):
        h = walsh_hadamard(torch.eye(size)).numpy()
        np.testing.assert_array_equal(h, hadamard(size))
        np.testing.assert_array_equal(h @ h, size * np.eye(size))
        c = cosine_transform(size).double()
        torch.testing.assert_close(c @ c.T, torch.eye(size, dtype=torch.double), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("inputs", "outputs"), [(8, 8), (6, 5), (5, 20)])
def test_fastfood_is_the_product_of_its_factors(inputs, outputs):
    torch.manual_seed(0)
    layer = AdaptiveFastfood(inputs, outputs).double()
    torch.nn.init.normal_(layer.s)
    h, rows = hadamard(8), []
    for s, g, b, p in zip(layer.s, layer.g, layer.b, layer.permutation, strict=True):
        s, g, b = (np.diag(each.detach().numpy()) for each in (s, g, b))
        rows.append(s @ h @ g @ np.eye(8)[p.numpy()] @ h @ b / 8)
    np.testing.assert_allclose(layer.matrix().numpy(), np.concatenate(rows)[:outputs, :inputs], atol=1e-12)
    assert sum(p.numel() for p in layer.parameters()) == 3 * 8 * -(-outputs // 8)


@pytest.mark.parametrize(("inputs", "outputs", "depth"), [(6, 6, 1), (5, 7, 3), (9, 4, 2)])
def test_acdc_is_the_product_of_its_factors(inputs, outputs, depth):
    torch.manual_seed(0)
    layer, size = ACDC(inputs, outputs, depth).double(), max(inputs, outputs)
    k, n = np.indices((size, size))
    c = np.cos(np.pi * k * (2 * n + 1) / (2 * size)) * np.sqrt(np.where(k == 0, 1, 2) / size)
    product = np.eye(size)
    for step in range(depth):
        a, d = (np.diag(each[step].detach().numpy()) for each in (layer.a, layer.d))
        permuted = product if step == 0 else product[layer.permutation[step].numpy()]
        product = a @ c.T @ d @ c @ permuted
    np.testing.assert_allclose(layer.matrix().numpy(), product[:outputs, :inputs], atol=1e-6)
    assert sum(p.numel() for p in layer.parameters()) == 2 * depth * size


@pytest.mark.parametrize("kind", [AdaptiveFastfood, ACDC])
def test_outputs_start_with_the_variance_of_the_inputs(kind):
    torch.manual_seed(0)
    y = kind(256, 256)(torch.randn(200, 256))
    assert float(y.detach().std()) == pytest.approx(1.0, abs=0.1)


class Net(Network):
    def __init__(self, data, kind):
        scheme = schemes.get("integer")
        super().__init__("net", scheme, data.shape, data.classes, (data.low, data.high))
        self.options = {}
        self.hidden = layers.block(scheme, kind(16, 32), 32)
        self.add_output(32, bias=False)

    def forward(self, x):
        return self.scale(self.output(self.hidden(self.input(x).flatten(1))))


@pytest.mark.parametrize("kind", [AdaptiveFastfood, ACDC])
def test_they_are_trained_and_not_exported(kind, tmp_path):
    torch.manual_seed(0)
    data = small()
    model = Net(data, kind)
    before = [p.detach().clone() for p in model.hidden.linear.parameters()]
    assert fit(model, data, TrainConfig(epochs=10)).test_accuracy > 0.95
    assert all(not torch.equal(a, b) for a, b in zip(before, model.hidden.linear.parameters(), strict=True))
    with pytest.raises(
        QuantError, match=r"export of net: its layer hidden\.linear cannot be exported: .* \(--tie"
    ) as caught:
        export(model, tmp_path / "model.onnx")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_bad_sizes():
    for make, words in ((lambda: AdaptiveFastfood(0, 4), "inputs=0"), (lambda: ACDC(4, 4, 0), "depth=0 of ACDC")):
        with pytest.raises(QuantError, match=words):
            make()
