"""Every binary and ternary scheme learns the digits, and what it learned is exported and lowered as it is."""

import numpy as np
import pytest
import torch

from hw.lowering.lower import lower
from hw.simulation.emulator import Emulator
from hw.verification.reference import compare
from quant import TrainConfig, create_model, export, fit, load_checkpoint, load_data, save_checkpoint, schemes
from quant.errors import QuantError
from quant.models.network import Network

EPOCHS = 15

# What each reached at least in these epochs, over four seeds, in percent, less a margin of 3; whether nothing rounds.
LEARNED = {
    "binaryconnect, glorot": ("binaryconnect", {"scale": "glorot"}, 94, False),
    "binaryconnect, stochastic": ("binaryconnect", {"mode": "stochastic"}, 91, False),
    "binarynet": ("binarynet", {}, 92, True),
    "binarynet, shifts": ("binarynet", {"normalization": "shift", "update_rule": "shift_adamax"}, 90, True),
    "binarynet, stochastic": ("binarynet", {"stochastic_act": True}, 92, True),
    "bwn": ("bwn", {"act_bits": 2}, 93, False),
    "xnor": ("xnor", {}, 92, False),
    "twn": ("twn", {"act_bits": 2}, 93, False),
    "ternary_connect": ("ternary_connect", {}, 94, False),
    "ternary_connect, binary": ("ternary_connect", {"weight_bits": 1}, 90, False),
    "lab": ("lab", {"act_bits": 2}, 94, False),
    "lab2": ("lab", {"act_bits": 1}, 91, False),
}


def check_export(model: Network, path, frames: np.ndarray, exact: bool) -> None:
    """torch = QONNX = emulator: integers equal but where float32 rounds, and nothing rounds if ``exact``."""
    verification = export(model, path, frames)
    assert verification.max_abs_diff <= (0 if exact else 1e-12)
    graph = lower(path)
    compared = compare(graph, path, frames)
    assert compared.mismatches == compared.explained, compared.describe()
    model.eval()
    expected = model(torch.from_numpy(frames)).detach().numpy()
    found = Emulator(graph).run(frames).reshape(expected.shape)
    if exact:
        assert compared.mismatches == 0
        np.testing.assert_array_equal(found, expected)
    near = np.isclose(found, expected, rtol=1e-4, atol=1e-4).all(axis=1)
    assert near.mean() > 0.97


@pytest.mark.parametrize("name", LEARNED)
def test_digits(name, tmp_path):
    scheme, parameters, floor, exact = LEARNED[name]
    data = load_data("digits")
    torch.manual_seed(0)
    model = create_model("tfc-w1a1", schemes.get(scheme, **parameters))
    result = fit(model, data, TrainConfig(epochs=EPOCHS))
    assert result.test_accuracy >= floor / 100
    frames = data.x_test.reshape(len(data.x_test), -1).astype(np.float32)
    check_export(model, tmp_path / "model.onnx", frames, exact)
    save_checkpoint(model, tmp_path / "model.pt")
    again = load_checkpoint(tmp_path / "model.pt")
    x = torch.from_numpy(frames)
    assert torch.equal(again(x), model(x))


@pytest.mark.parametrize(
    ("scheme", "parameters", "exact"),
    [
        ("binaryconnect", {"scale": 0.5, "act_bits": 2}, False),
        ("binarynet", {"normalization": "shift"}, True),
        ("bwn", {"edge_bits": 1, "act_bits": 3}, False),
        ("xnor", {}, False),
        ("twn", {"per_filter": True, "act_bits": 2}, False),
        ("ternary_connect", {"act_bits": 2}, False),
        ("lab", {"act_bits": 1}, False),
    ],
)
def test_convolutions(scheme, parameters, exact, tmp_path):
    torch.manual_seed(0)
    options = {"input_shape": (1, 16, 16), "classes": 4, "in_range": (0, 15), "width": 0.5}
    model = create_model("lenet5-w1a1", schemes.get(scheme, **parameters), **options)
    optimizer = model.scheme.optimizer([{"params": list(model.parameters()), "lr": 1e-2}])
    for _ in range(32):  # until the activations' scales are learned
        x = torch.randint(0, 16, (40, 1, 16, 16)).float()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), x[:, 0, 8, 8].long() % 4).backward()
        optimizer.step()
    check_export(model, tmp_path / "model.onnx", torch.randint(0, 16, (20, 1, 16, 16)).float().numpy(), exact)


def test_input_scale_learns_but_is_not_exported(tmp_path):
    torch.manual_seed(0)
    model = create_model("tfc-w1a1", schemes.get("xnor", input_scale=True))
    assert fit(model, load_data("digits"), TrainConfig(epochs=EPOCHS)).test_accuracy >= 0.92
    with pytest.raises(QuantError, match=r"K, which depends on the data at every pixel.*train with input_scale=False"):
        export(model, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
