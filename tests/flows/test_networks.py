"""Networks of every width, made of ``quant``'s layers, from Brevitas to RTL: the same integers and the same cycles."""

import numpy as np
import pytest
import torch

from flows import build
from flows.verify import equal
from quant.models.mlp import MLP
from quant.qonnx.export import export
from quant.schemes import get

NETWORKS = {
    "w1a1": ("binarynet", {}, {}),
    "w1a1-bias": ("binarynet", {}, {"batch_norm": False, "bias": True}),
    "w1a1-in8": ("binarynet", {}, {"in_bits": 8, "in_range": (0, 255)}),
    "w1a2": ("binaryconnect", {"act_bits": 2}, {}),
    "w2a2": ("integer", {"weight_bits": 2, "act_bits": 2}, {}),
    "ternary-a4": ("integer", {"weight_bits": "ternary", "act_bits": 4}, {"bias": True}),
    "w4a4": ("integer", {"weight_bits": 4, "act_bits": 4}, {}),
    "w8a8": ("fixed_point", {"weight_bits": 8, "act_bits": 8}, {}),
    "w16a16": ("fixed_point", {"weight_bits": 16, "act_bits": 16}, {}),
    "w8a16-bn": ("fixed_point", {"weight_bits": 8, "act_bits": 16}, {"batch_norm": True}),
}


def network(name: str, seed: int) -> MLP:
    """A small network with random weights and BatchNorm statistics."""
    scheme, bits, options = NETWORKS[name]
    torch.manual_seed(seed)
    model = MLP(get(scheme, **bits), hidden=(8, 6), input_shape=(10,), classes=4, **options)
    low, high = model.in_range
    model.train()
    with torch.no_grad():
        for _ in range(4):
            model(torch.randint(low, high + 1, (64, 10)).float())
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm1d) and module.affine:
                module.weight.copy_(torch.empty_like(module.weight).uniform_(0.5, 1.5))
                module.weight[::3] *= -1  # these channels decrease
                module.bias.normal_()
    return model.eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_from_brevitas_to_rtl(name, tmp_path):
    model = network(name, seed=len(name))
    low, high = model.in_range
    frames = np.random.default_rng(3).integers(low, high, (96, 10), endpoint=True).astype(np.float32)
    export(model, tmp_path / "model.onnx", frames)
    np.save(tmp_path / "x.npy", frames)
    made = build(
        tmp_path / "model.onnx",
        "ulx3s-85f",
        tmp_path / "out",
        fps=4e6,
        frames=tmp_path / "x.npy",
        stop_after="simulate",
    )
    verified = made.report.verified
    assert verified["rtl"].to_json() == equal(96, 96 * 4) | {"accuracy": None}
    assert verified["emulator"].mismatches == 0 or not name.startswith(("w1a1", "w8a8", "w16"))
    assert (verified["emulator"].decided > 0) == ("16" in name)
    if name.startswith(("w1a1", "w8a8")):
        np.testing.assert_array_equal(made.run(frames, "emulator"), made.run(frames, "qonnx"))
    with torch.no_grad():
        np.testing.assert_array_equal(made.run(frames).argmax(1), model(torch.from_numpy(frames)).numpy().argmax(1))
