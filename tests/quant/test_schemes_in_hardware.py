"""From training to integers: torch = QONNX = emulator, for each fixed-point, learned and half-wave scheme."""

import numpy as np
import pytest
import torch

from hw.lowering.lower import lower
from hw.simulation.emulator import Emulator
from hw.verification.reference import compare
from quant import TrainConfig, create_model, export, fit, load_data, schemes
from quant.models.network import model_inputs


def built(scheme, tmp_path, epochs=2, **options):
    """A network trained on the digits, its exported file, and frames."""
    torch.manual_seed(0)
    data = load_data("digits")
    model = create_model("tfc", scheme=scheme, **options)
    fit(model, data, TrainConfig(epochs=epochs))
    frames = model_inputs(model, data.x_test[:200])
    export(model, tmp_path / "model.onnx", frames)
    with torch.no_grad():
        logits = model.eval()(torch.from_numpy(frames)).numpy()
    return lower(tmp_path / "model.onnx"), frames, logits


@pytest.mark.parametrize(
    "parameters",
    [
        {"weight_bits": 2, "act_bits": 2},
        {"weight_bits": 4, "act_bits": 4, "rounding": "floor"},
        {"weight_bits": 4, "act_bits": 4, "rounding": "half_even"},
        {"weight_bits": 4, "act_bits": 4, "rounding": "toward_zero"},
        {"weight_bits": 8, "act_bits": 8},
        {"weight_bits": 8, "act_bits": 6, "rounding": "stochastic"},
    ],
    ids=lambda value: "-".join(map(str, value.values())),
)
def test_fixed_point_is_equal_to_the_bit(parameters, tmp_path):
    graph, frames, logits = built(schemes.get("fixed_point", **parameters), tmp_path)
    np.testing.assert_array_equal(Emulator(graph).run(frames), logits)
    assert compare(graph, tmp_path / "model.onnx", frames).mismatches == 0


@pytest.mark.parametrize("name", ["gupta", "fixed_point"])
def test_sixteen_bits_are_equal_but_for_the_float32_of_torch(name, tmp_path):
    # Sums of 16-bit products need more than float32's 24 bits: torch in float32 rounds, the hardware does not.
    graph, frames, logits = built(schemes.get_class(name).from_bits(16, 16), tmp_path)
    np.testing.assert_allclose(Emulator(graph).run(frames), logits, atol=2e-3)
    compared = compare(graph, tmp_path / "model.onnx", frames)
    assert compared.mismatches == compared.explained
    assert compared.arg_max_changes == 0


@pytest.mark.parametrize(
    ("name", "parameters", "dtype"),
    [
        ("learned_step", {"weight_bits": 2, "act_bits": 3}, "UINT3"),
        ("learned_step", {"weight_bits": 8, "act_bits": 8}, "UINT8"),
        ("accumulator_aware", {"accumulator_bits": 13, "input_bits": 4}, "UINT4"),
        ("accumulator_aware", {"accumulator_bits": 16, "zero_center": False}, "UINT4"),
        ("hwgq", {"act_bits": 1}, "BINARY"),
        ("hwgq", {"act_bits": 2}, "UINT2"),
        ("hwgq", {"act_bits": 2, "backward": "log_tailed", "rounded": False}, "UINT2"),
        ("hwgq", {"act_bits": 2, "uniform": False}, "UINT4"),
        ("hwgq", {"act_bits": 2, "rounded": True}, "UINT2"),
    ],
    ids=str,
)
def test_floating_point_scales(name, parameters, dtype, tmp_path):
    graph, frames, logits = built(schemes.get(name, **parameters), tmp_path)
    layers = [node for node in graph if node.kernel.op == "matrix_vector"]
    assert [node.kernel.input_dtype.name for node in layers] == ["UINT4", *[dtype] * 3]
    compared = compare(graph, tmp_path / "model.onnx", frames)
    assert compared.mismatches == compared.explained, compared.describe()
    near = np.isclose(Emulator(graph).run(frames), logits, rtol=1e-4, atol=1e-4).all(axis=1)
    assert near.mean() > 0.97


@pytest.mark.parametrize("zero_center", [False, True])
def test_the_accumulators_of_the_hardware_are_as_narrow_as_asked(zero_center, tmp_path):
    scheme = schemes.get("accumulator_aware", accumulator_bits=12, zero_center=zero_center, input_bits=4)
    graph, _, _ = built(scheme, tmp_path)
    widths = [node.kernel.accumulator_dtype.bitwidth() for node in graph if node.kernel.op == "matrix_vector"]
    assert len(widths) == 4
    assert max(widths) <= 12
